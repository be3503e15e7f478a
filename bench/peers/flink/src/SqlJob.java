import java.util.HashMap;
import java.util.Map;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.Schema;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.types.Row;

final class SqlJob {
    private SqlJob() {}
    static DataStream<TopList> build(StreamExecutionEnvironment env, DataStream<Message> messages, long lastUs) { throw new RuntimeException(); }
}
