import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeSet;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/**
 * Mode continuous with the DataStream API: every click and every change of stock changes the lists at
 * once, and a list whose first ten are others is emitted whole. A click is taken back by a timer ten
 * minutes after it happened, to the millisecond. The order of a list is a tree beside Flink's state, made
 * anew from it when it is missing, as the operators of Flink SQL do for Top-N.
 */
final class ContinuousJob {
    private static final long WINDOW_MS = 600_000;

    private ContinuousJob() {}

    static DataStream<TopList> build(DataStream<Message> messages, long lastUs) {
        SingleOutputStreamOperator<TopList> categories =
                messages.keyBy(message -> message.category).process(new TopOfCategory(lastUs));
        SingleOutputStreamOperator<TopList> global =
                categories.keyBy(category -> TopList.GLOBAL).process(new TopOfTops());
        return categories.union(global.setParallelism(1));
    }

    /** A list in order, and its first ten as they were emitted last. */
    private static class Ranking {
        final TreeSet<Long> order = new TreeSet<>();
        long[] first = new long[0];
        private boolean isChanged;

        void remove(long packed) {
            order.remove(packed);
            isChanged |= isWithinFirst(packed);
        }

        void add(long packed) {
            order.add(packed);
            isChanged |= isWithinFirst(packed);
        }

        /** What stands behind the tenth, before and after, is nobody's concern. */
        private boolean isWithinFirst(long packed) {
            return first.length < TopList.K || packed <= first[TopList.K - 1];
        }

        void emitIfChanged(long tUs, int list, Collector<TopList> out) {
            if (!isChanged) {
                return;
            }
            isChanged = false;
            long[] now = firstInOrder();
            if (!Arrays.equals(now, first)) {
                first = now;
                TopList top = new TopList(tUs, list);
                top.members = now;
                out.collect(top);
            }
        }

        long[] firstInOrder() {
            long[] now = new long[Math.min(order.size(), TopList.K)];
            int place = 0;
            for (long packed : order) {
                if (place == now.length) {
                    break;
                }
                now[place++] = packed;
            }
            return now;
        }
    }

    private static class TopOfCategory extends KeyedProcessFunction<Integer, Message, TopList> {
        private final long lastUs;
        /** Item → its score. */
        private transient MapState<Integer, Long> scores;
        private transient MapState<Integer, Boolean> inStock;
        /** Time of a timer, ms → item → what is taken back from its score then. */
        private transient MapState<Long, Map<Integer, Long>> expiring;
        /** Category → its list. */
        private transient Map<Integer, Ranking> rankings;

        TopOfCategory(long lastUs) {
            this.lastUs = lastUs;
        }

        @Override
        public void open(OpenContext context) {
            scores = getRuntimeContext().getMapState(new MapStateDescriptor<>("scores", Types.INT, Types.LONG));
            inStock = getRuntimeContext().getMapState(new MapStateDescriptor<>("inStock", Types.INT, Types.BOOLEAN));
            expiring = getRuntimeContext().getMapState(
                    new MapStateDescriptor<>("expiring", Types.LONG, Types.MAP(Types.INT, Types.LONG)));
            rankings = new HashMap<>();
        }

        @Override
        public void processElement(Message message, Context context, Collector<TopList> out) throws Exception {
            Ranking ranking = ranking(context.getCurrentKey());
            if (message.isClick) {
                add(ranking, message.item, message.amount);
                long expiresMs = message.atUs / 1000 + WINDOW_MS;
                Map<Integer, Long> together = expiring.get(expiresMs);
                if (together == null) {
                    together = new HashMap<>(2);
                    context.timerService().registerEventTimeTimer(expiresMs);
                }
                together.merge(message.item, message.amount, Long::sum);
                expiring.put(expiresMs, together);
            } else {
                setStock(ranking, message.item, message.amount > 0);
            }
            ranking.emitIfChanged(message.atUs, context.getCurrentKey(), out);
        }

        @Override
        public void onTimer(long timestamp, OnTimerContext context, Collector<TopList> out) throws Exception {
            // The end of the input is not the end of time: what counts as of then is left as it is.
            if (timestamp * 1000 >= lastUs) {
                return;
            }
            Ranking ranking = ranking(context.getCurrentKey());
            for (Map.Entry<Integer, Long> item : expiring.get(timestamp).entrySet()) {
                add(ranking, item.getKey(), -item.getValue());
            }
            expiring.remove(timestamp);
            ranking.emitIfChanged(timestamp * 1000, context.getCurrentKey(), out);
        }

        private void add(Ranking ranking, int item, long amount) throws Exception {
            Long known = scores.get(item);
            long before = known == null ? 0 : known;
            long after = before + amount;
            if (after == 0) {
                scores.remove(item);
            } else {
                scores.put(item, after);
            }
            if (Boolean.TRUE.equals(inStock.get(item))) {
                if (before != 0) {
                    ranking.remove(TopList.packed(item, before));
                }
                if (after != 0) {
                    ranking.add(TopList.packed(item, after));
                }
            }
        }

        private void setStock(Ranking ranking, int item, boolean isNow) throws Exception {
            boolean isBefore = Boolean.TRUE.equals(inStock.get(item));
            if (isBefore == isNow) {
                return;
            }
            inStock.put(item, isNow);
            Long score = scores.get(item);
            if (score != null && isNow) {
                ranking.add(TopList.packed(item, score));
            } else if (score != null) {
                ranking.remove(TopList.packed(item, score));
            }
        }

        private Ranking ranking(int category) throws Exception {
            Ranking ranking = rankings.get(category);
            if (ranking == null) {
                ranking = new Ranking();
                for (Map.Entry<Integer, Long> score : scores.entries()) {
                    if (Boolean.TRUE.equals(inStock.get(score.getKey()))) {
                        ranking.order.add(TopList.packed(score.getKey(), score.getValue()));
                    }
                }
                ranking.first = ranking.firstInOrder();
                rankings.put(category, ranking);
            }
            return ranking;
        }
    }

    /** The first ten of all, of the first ten of each category. */
    private static class TopOfTops extends KeyedProcessFunction<Integer, TopList, TopList> {
        /** Category → its first ten. */
        private transient MapState<Integer, TopList> tops;
        private transient Ranking ranking;

        @Override
        public void open(OpenContext context) {
            tops = getRuntimeContext().getMapState(
                    new MapStateDescriptor<>("tops", Types.INT, Types.POJO(TopList.class)));
        }

        @Override
        public void processElement(TopList top, Context context, Collector<TopList> out) throws Exception {
            if (ranking == null) {
                ranking = new Ranking();
                for (TopList known : tops.values()) {
                    for (long member : known.members) {
                        ranking.order.add(member);
                    }
                }
                ranking.first = ranking.firstInOrder();
            }
            TopList before = tops.get(top.list);
            tops.put(top.list, top);
            change(before == null ? new long[0] : before.members, top.members);
            ranking.emitIfChanged(top.tUs, TopList.GLOBAL, out);
        }

        /** Both are in order; most of their members are the same. */
        private void change(long[] before, long[] after) {
            int b = 0;
            int a = 0;
            while (b < before.length || a < after.length) {
                if (a == after.length || (b < before.length && before[b] < after[a])) {
                    ranking.remove(before[b++]);
                } else if (b == before.length || after[a] < before[b]) {
                    ranking.add(after[a++]);
                } else {
                    a++;
                    b++;
                }
            }
        }
    }
}
