import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.util.Collector;

import java.time.Duration;

/**
 * Mode hop with the DataStream API. The state is kept by category: clicks are summed by minute and item
 * as they come, and a timer at each minute's end moves the window and emits the category's first ten.
 * Of a sliding window of Flink's own each click would be added to ten windows. The global list is made of
 * the first ten of the categories: who is not among those of its category cannot be among those of all.
 */
final class HopJob {
    private static final long MINUTE_US = 60_000_000;
    private static final long WINDOW_MINUTES = 10;

    private HopJob() {}

    static DataStream<TopList> build(DataStream<Message> messages, long lastUs) {
        SingleOutputStreamOperator<TopList> categories =
                messages.keyBy(message -> message.category).process(new TopOfCategory(lastUs));
        // What a timer emits has the timer's time, the last millisecond of the minute.
        DataStream<TopList> global =
                categories
                        .windowAll(TumblingEventTimeWindows.of(Duration.ofMinutes(1)))
                        .aggregate(new TopOfTops());
        return categories.union(global);
    }

    private static class TopOfCategory extends KeyedProcessFunction<Integer, Message, TopList> {
        private final long lastUs;
        /** Minute → item → what was added to its score, of minutes that are within the window or to come. */
        private transient MapState<Long, Map<Integer, Long>> clicks;
        /** Minute → updates of stock, of minutes that are to come. */
        private transient MapState<Long, List<Message>> updates;
        /** Item → its score within the window that was answered last. */
        private transient MapState<Integer, Long> scores;
        /** Item → its units as of then. */
        private transient MapState<Integer, Long> units;

        TopOfCategory(long lastUs) {
            this.lastUs = lastUs;
        }

        @Override
        public void open(OpenContext context) {
            clicks = getRuntimeContext().getMapState(
                    new MapStateDescriptor<>("clicks", Types.LONG, Types.MAP(Types.INT, Types.LONG)));
            updates = getRuntimeContext().getMapState(
                    new MapStateDescriptor<>("updates", Types.LONG, Types.LIST(Types.POJO(Message.class))));
            scores = getRuntimeContext().getMapState(new MapStateDescriptor<>("scores", Types.INT, Types.LONG));
            units = getRuntimeContext().getMapState(new MapStateDescriptor<>("units", Types.INT, Types.LONG));
        }

        @Override
        public void processElement(Message message, Context context, Collector<TopList> out) throws Exception {
            long minute = message.atUs / MINUTE_US;
            if (message.isClick) {
                Map<Integer, Long> ofMinute = clicks.get(minute);
                if (ofMinute == null) {
                    ofMinute = new HashMap<>();
                    answerAfter(minute, context);
                }
                ofMinute.merge(message.item, message.amount, Long::sum);
                clicks.put(minute, ofMinute);
            } else {
                List<Message> ofMinute = updates.get(minute);
                if (ofMinute == null) {
                    ofMinute = new ArrayList<>();
                    answerAfter(minute, context);
                }
                ofMinute.add(message);
                updates.put(minute, ofMinute);
            }
        }

        private static void answerAfter(long minute, Context context) {
            context.timerService().registerEventTimeTimer((minute + 1) * MINUTE_US / 1000 - 1);
        }

        @Override
        public void onTimer(long timestamp, OnTimerContext context, Collector<TopList> out) throws Exception {
            long tUs = (timestamp + 1) * 1000;
            if (tUs > lastUs) {
                return;
            }
            long minute = tUs / MINUTE_US - 1;
            takeStock(minute);
            add(clicks.get(minute), 1);
            add(clicks.get(minute - WINDOW_MINUTES), -1);
            clicks.remove(minute - WINDOW_MINUTES);
            if (scores.isEmpty()) {
                return;
            }
            TopList top = new TopList(tUs, context.getCurrentKey());
            for (Map.Entry<Integer, Long> score : scores.entries()) {
                long packed = TopList.packed(score.getKey(), score.getValue());
                if (isAmongTop(top, packed) && isInStock(score.getKey())) {
                    top.offer(packed);
                }
            }
            if (top.members.length > 0) {
                out.collect(top);
            }
            answerAfter(minute + 1, context);
        }

        private static boolean isAmongTop(TopList top, long packed) {
            return top.members.length < TopList.K || packed < top.members[TopList.K - 1];
        }

        private boolean isInStock(int item) throws Exception {
            Long count = units.get(item);
            return count != null && count > 0;
        }

        private void takeStock(long minute) throws Exception {
            List<Message> ofMinute = updates.get(minute);
            if (ofMinute == null) {
                return;
            }
            ofMinute.sort(Comparator.comparingLong(update -> update.atUs));
            for (Message update : ofMinute) {
                units.put(update.item, update.amount);
            }
            updates.remove(minute);
        }

        private void add(Map<Integer, Long> ofMinute, int sign) throws Exception {
            if (ofMinute == null) {
                return;
            }
            for (Map.Entry<Integer, Long> item : ofMinute.entrySet()) {
                Long before = scores.get(item.getKey());
                long score = (before == null ? 0 : before) + sign * item.getValue();
                if (score == 0) {
                    scores.remove(item.getKey());
                } else {
                    scores.put(item.getKey(), score);
                }
            }
        }
    }

    private static class TopOfTops implements AggregateFunction<TopList, TopList, TopList> {
        @Override
        public TopList createAccumulator() {
            return new TopList(0, TopList.GLOBAL);
        }

        @Override
        public TopList add(TopList category, TopList all) {
            all.tUs = category.tUs;
            for (long member : category.members) {
                all.offer(member);
            }
            return all;
        }

        @Override
        public TopList getResult(TopList all) {
            return all;
        }

        @Override
        public TopList merge(TopList one, TopList other) {
            return add(other, one);
        }
    }
}
