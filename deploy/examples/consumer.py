"""Follows views of etalage through their topics, all as of one tick at a time.

    pip install confluent-kafka
    python consumer.py BROKERS PREFIX VIEW [VIEW ...]

Prints a JSON line for every change, tick by tick: what is printed up to a line with another `as_of` is
everything that was true then. Who keeps the newest value of each key has what etalage answers.
"""

import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

brokers, prefix, *views = sys.argv[1:]
progress = f"{prefix}progress.v1"
topics = {f"{prefix}{view}.v1": view for view in views}
settings = {"enable.auto.commit": False, "auto.offset.reset": "earliest", "enable.partition.eof": True}
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "etalage-example", **settings})
known = consumer.list_topics(timeout=10).topics
# Of progress only the newest matters: the topics of the views are compacted, older ticks are no longer in them. It is
# looked for in the last places: between messages of transactions (kafka.transactions) stand their ends.
tail = max(consumer.get_watermark_offsets(TopicPartition(progress, 0))[1] - 1000, 0)
catching_up = True
parts = [TopicPartition(topic, part, OFFSET_BEGINNING) for topic in topics for part in known[topic].partitions]
consumer.assign([TopicPartition(progress, 0, tail), *parts])

held = {}  # (topic, partition) -> messages that belong to no complete tick yet
read = {}  # (topic, partition) -> offset behind the last message
told = []  # what progress said, oldest first

while True:
    message = consumer.poll(1)
    if message is None:
        continue
    place = message.topic(), message.partition()
    if message.error():
        if message.error().code() != KafkaError._PARTITION_EOF:
            print(message.error(), file=sys.stderr)
            continue
        catching_up = catching_up and message.topic() != progress
    elif message.topic() == progress:
        told = [*(told if not catching_up else []), json.loads(message.value())]
    else:
        held.setdefault(place, []).append(message)
        read[place] = message.offset() + 1
    # A tick is complete when every partition was read up to the offset that progress named.
    while told and not catching_up:
        ends = {(t, int(p)): end for t, parts in told[0]["offsets"].items() if t in topics for p, end in parts.items()}
        if any(read.get(place, 0) < end for place, end in ends.items()):
            break
        for place, messages in held.items():
            below = [m for m in messages if m.offset() < ends.get(place, 0)]
            held[place] = messages[len(below) :]
            for m in below:
                key, value = json.loads(m.key()), m.value() and json.loads(m.value())
                print(json.dumps({"as_of": told[0]["as_of"], "view": topics[m.topic()], "key": key, "value": value}))
        told.pop(0)
        sys.stdout.flush()
