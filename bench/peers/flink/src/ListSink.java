import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;

/** Writes lists to a file, a line each, in the order in which they come. Its parallelism is 1. */
class ListSink implements Sink<TopList> {
    private static final int FLUSH_CHARS = 1 << 16;
    /** How many lists the last job has written. */
    static volatile long written;

    private final String path;

    ListSink(String path) {
        this.path = path;
    }

    @Override
    public SinkWriter<TopList> createWriter(WriterInitContext context) throws IOException {
        return new Writer(Files.newBufferedWriter(Path.of(path), StandardCharsets.US_ASCII));
    }

    private static class Writer implements SinkWriter<TopList> {
        private final BufferedWriter file;
        private final StringBuilder text = new StringBuilder();
        private long lists;

        Writer(BufferedWriter file) {
            this.file = file;
        }

        @Override
        public void write(TopList list, Context context) throws IOException {
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
