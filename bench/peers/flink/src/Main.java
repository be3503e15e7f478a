import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.runtime.util.EnvironmentInformation;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/**
 * Runs one job on a cluster within this JVM and prints what it took, as a line of JSON.
 *
 * <p>--engine datastream|sql --mode hop|continuous --input FILE --output FILE --last-us N --parallelism N
 */
public final class Main {
    private static final int MANAGED_MEMORY_MIB = 512;

    private Main() {}

    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int i = 0; i < args.length; i += 2) {
            options.put(args[i], args[i + 1]);
        }
        String job = options.get("--engine") + " " + options.get("--mode");
        long lastUs = Long.parseLong(options.get("--last-us"));
        int parallelism = Integer.parseInt(options.getOrDefault("--parallelism", "1"));

        Configuration settings = new Configuration();
        settings.set(StateBackendOptions.STATE_BACKEND, "hashmap");
        settings.set(PipelineOptions.OBJECT_REUSE, true);
        settings.set(PipelineOptions.GENERIC_TYPES, false);
        // A cluster within a JVM has 128 MiB of it unless told; the windows of SQL live in it.
        settings.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(MANAGED_MEMORY_MIB));
        StreamExecutionEnvironment env =
                StreamExecutionEnvironment.createLocalEnvironment(parallelism, settings);

        DataStream<Message> messages = Input.read(env, options.get("--input"));
        DataStream<TopList> lists =
                switch (job) {
                    case "datastream hop" -> HopJob.build(messages, lastUs);
                    case "datastream continuous" -> ContinuousJob.build(messages, lastUs);
                    case "sql hop" -> SqlJob.build(env, messages, lastUs);
                    default -> throw new IllegalArgumentException("no such job: " + job);
                };
        boolean isByMember = options.get("--engine").equals("sql");
        lists.sinkTo(new ListSink(options.get("--output"), isByMember)).setParallelism(1);
        env.execute(job);

        String jvm =
                ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
                        .filter(each -> !each.startsWith("--add-opens") && !each.startsWith("-Djava.io.tmpdir"))
                        .collect(Collectors.joining(" "));
        System.out.printf(
                Locale.ROOT,
                """
                {
                  "engine": "flink %s", "mode": "%s", "version": "%s", "parallelism": %d,
                  "seconds": %.3f, "cpu_seconds": %.3f, "peak_rss_mib": %.1f,
                  "start_seconds": %.3f, "process_cpu_seconds": %.3f, "lists": %d,
                  "settings": {
                    "state_backend": "hashmap", "object_reuse": true, "checkpoints": "none",
                    "watermark_interval_ms": %d, "managed_memory_mib": %d,
                    "java": "%s", "jvm": "%s"
                  }
                }
                """,
                options.get("--engine"),
                options.get("--mode"),
                EnvironmentInformation.getVersion(),
                parallelism,
                Measured.seconds(),
                Measured.cpuSeconds(),
                peakRssMib(),
                Measured.startSeconds(),
                Measured.cpuNanos() / 1e9,
                ListSink.written,
                env.getConfig().getAutoWatermarkInterval(),
                MANAGED_MEMORY_MIB,
                System.getProperty("java.version"),
                jvm);
    }

    private static double peakRssMib() throws Exception {
        String line =
                Files.readAllLines(Path.of("/proc/self/status")).stream()
                        .filter(each -> each.startsWith("VmHWM:"))
                        .findFirst()
                        .orElseThrow();
        return Double.parseDouble(line.replaceAll("[^0-9]", "")) / 1024;
    }
}
