import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;

/**
 * Writes lists to a file, a line each. Its parallelism is 1. Lists that come whole are written as they
 * come; of SQL they come member by member, and are put together and written at the end.
 */
class ListSink implements Sink<TopList> {
    private static final int FLUSH_CHARS = 1 << 16;
    /** How many lists the last job has written. */
    static volatile long written;

    private final String path;
    private final boolean isByMember;

    ListSink(String path, boolean isByMember) {
        this.path = path;
        this.isByMember = isByMember;
    }

    @Override
    public SinkWriter<TopList> createWriter(WriterInitContext context) throws IOException {
        return new Writer(Files.newBufferedWriter(Path.of(path), StandardCharsets.US_ASCII), isByMember);
    }

    private static class Writer implements SinkWriter<TopList> {
        private final BufferedWriter file;
        private final StringBuilder text = new StringBuilder();
        private final boolean isByMember;
        /** Time → list → its members so far, if they come one by one. */
        private final Map<Long, Map<Integer, TopList>> partial = new HashMap<>();
        private long lists;

        Writer(BufferedWriter file, boolean isByMember) {
            this.file = file;
            this.isByMember = isByMember;
        }

        @Override
        public void write(TopList list, Context context) throws IOException {
            if (isByMember) {
                partial.computeIfAbsent(list.tUs, t -> new HashMap<>())
                        .computeIfAbsent(list.list, name -> new TopList(list.tUs, name))
                        .offer(list.members[0]);
            } else {
                append(list);
            }
        }

        private void append(TopList list) throws IOException {
            list.write(text);
            lists++;
            if (text.length() >= FLUSH_CHARS) {
                drain();
            }
        }

        private void drain() throws IOException {
            file.append(text);
            text.setLength(0);
        }

        @Override
        public void flush(boolean endOfInput) throws IOException {
            for (Map<Integer, TopList> ofTime : partial.values()) {
                for (TopList list : ofTime.values()) {
                    append(list);
                }
            }
            partial.clear();
            drain();
            file.flush();
            written = lists;
            Measured.answersWritten();
        }

        @Override
        public void close() throws IOException {
            file.close();
        }
    }
}
