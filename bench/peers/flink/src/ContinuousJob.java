import org.apache.flink.streaming.api.datastream.DataStream;
final class ContinuousJob {
    private ContinuousJob() {}
    static DataStream<TopList> build(DataStream<Message> messages, long lastUs) { throw new RuntimeException(); }
}
