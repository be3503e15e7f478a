import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichFlatMapFunction;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.file.src.reader.TextLineInputFormat;
import org.apache.flink.core.fs.Path;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.Collector;

import java.time.Duration;

/** The file as a stream of messages with event time. */
final class Input {
    /** By so much a click is late at most. */
    private static final Duration LATENESS = Duration.ofSeconds(2);

    private Input() {}

    /** One file in order of arrival has one reader; what follows is as parallel as the job. */
    static DataStream<Message> read(StreamExecutionEnvironment env, String path) {
        FileSource<String> file =
                FileSource.forRecordStreamFormat(new TextLineInputFormat(), new Path(path)).build();
        return env.fromSource(file, WatermarkStrategy.noWatermarks(), "file")
                .setParallelism(1)
                .flatMap(new Parse())
                .setParallelism(1)
                .assignTimestampsAndWatermarks(
                        WatermarkStrategy.<Message>forBoundedOutOfOrderness(LATENESS)
                                .withTimestampAssigner((message, before) -> message.atUs / 1000))
                .setParallelism(1);
    }

    private static class Parse extends RichFlatMapFunction<String, Message> {
        private boolean isBegun;

        @Override
        public void open(OpenContext context) {
            isBegun = false;
        }

        @Override
        public void flatMap(String line, Collector<Message> out) {
            if (!isBegun) {
                isBegun = true;
                Measured.readingBegins();
            }
            Message message = Message.parse(line);
            if (message != null) {
                out.collect(message);
            }
        }
    }
}
