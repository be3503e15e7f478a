import java.time.LocalDateTime;
import java.time.ZoneOffset;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.Schema;
import org.apache.flink.table.api.Table;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.types.Row;

/**
 * Mode hop in SQL: a window aggregation over HOP, a temporal join with the stock as a versioned view,
 * and Window Top-N. A temporal join does not hand its input's windows on, so what it gives is put into
 * windows of a minute again, by the `window_time` of the hop, as Flink's cascades of windows do. The file
 * is read by the DataStream API, with the parser of the other jobs.
 */
final class SqlJob {
    private static final String[] VIEWS = {
        "CREATE TEMPORARY VIEW clicks AS SELECT item, amount, `at` FROM messages WHERE isClick",
        // The last row of a key by event time is how a view gets versions.
        """
        CREATE TEMPORARY VIEW stock AS
        SELECT item, category, amount AS units, `at` FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY item ORDER BY `at` DESC) AS place
            FROM messages WHERE NOT isClick)
        WHERE place = 1
        """,
        """
        CREATE TEMPORARY VIEW scores AS
        SELECT item, SUM(amount) AS score, window_end, window_time
        FROM HOP(TABLE clicks, DESCRIPTOR(`at`), INTERVAL '1' MINUTE, INTERVAL '10' MINUTES)
        GROUP BY item, window_start, window_end, window_time
        """,
        // Which windows are asked for stands here, since before the aggregation the planner would put each
        // click into ten windows for it.
        """
        CREATE TEMPORARY VIEW in_stock AS
        SELECT scores.item, category, score, window_time AS answer_time
        FROM scores
        JOIN stock FOR SYSTEM_TIME AS OF scores.window_time ON scores.item = stock.item
        WHERE units > 0 AND window_end <= TO_TIMESTAMP(FROM_UNIXTIME(%d))
        """,
        """
        CREATE TEMPORARY VIEW category_tops AS
        SELECT * FROM (
            SELECT *, ROW_NUMBER() OVER (
                PARTITION BY window_start, window_end, category ORDER BY score DESC, item) AS place
            FROM TUMBLE(TABLE in_stock, DESCRIPTOR(answer_time), INTERVAL '1' MINUTE))
        WHERE place <= 10
        """,
        // Who is not among the first ten of its category cannot be among those of all.
        """
        CREATE TEMPORARY VIEW global_top AS
        SELECT * FROM (
            SELECT *, ROW_NUMBER() OVER (
                PARTITION BY window_start, window_end ORDER BY score DESC, item) AS global_place
            FROM category_tops)
        WHERE global_place <= 10
        """,
    };

    private static final String ANSWERS =
            """
            SELECT window_end, category, item, score FROM category_tops
            UNION ALL
            SELECT window_end, -1, item, score FROM global_top
            """;

    private SqlJob() {}

    static DataStream<TopList> build(
            StreamExecutionEnvironment env, DataStream<Message> messages, long lastUs) {
        StreamTableEnvironment tables = StreamTableEnvironment.create(env);
        tables.getConfig().set("table.local-time-zone", "UTC");
        tables.createTemporaryView(
                "messages",
                messages,
                Schema.newBuilder()
                        .column("item", DataTypes.INT().notNull())
                        .column("category", DataTypes.INT().notNull())
                        .column("amount", DataTypes.BIGINT().notNull())
                        .column("isClick", DataTypes.BOOLEAN().notNull())
                        .columnByMetadata("at", DataTypes.TIMESTAMP_LTZ(3), "rowtime")
                        .watermark("at", "SOURCE_WATERMARK()")
                        .build());
        for (String view : VIEWS) {
            tables.executeSql(String.format(view, lastUs / 1_000_000));
        }
        Table answers = tables.sqlQuery(ANSWERS);
        if (Boolean.getBoolean("explain")) {
            System.err.println(answers.explain());
        }
        return tables.toDataStream(answers).map(SqlJob::member).returns(Types.POJO(TopList.class));
    }

    /** A row as a list of one; the sink puts them together. */
    private static TopList member(Row row) {
        LocalDateTime end = row.getFieldAs("window_end");
        TopList list = new TopList(end.toEpochSecond(ZoneOffset.UTC) * 1_000_000, row.getFieldAs("category"));
        list.offer(TopList.packed(row.getFieldAs("item"), row.getFieldAs("score")));
        return list;
    }
}
