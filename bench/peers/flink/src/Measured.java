import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;

/** When reading began and when the last answer was written. The cluster is in this process. */
final class Measured {
    private static volatile long beganNanos;
    private static volatile long beganCpuNanos;
    private static volatile long endedNanos;
    private static volatile long endedCpuNanos;

    private Measured() {}

    static long cpuNanos() {
        return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    static void readingBegins() {
        beganNanos = System.nanoTime();
        beganCpuNanos = cpuNanos();
    }

    static void answersWritten() {
        endedNanos = System.nanoTime();
        endedCpuNanos = cpuNanos();
    }

    static double seconds() {
        return (endedNanos - beganNanos) / 1e9;
    }

    static double cpuSeconds() {
        return (endedCpuNanos - beganCpuNanos) / 1e9;
    }

    /** From the start of the JVM until reading began: JVM, planning, cluster, deployment. */
    static double startSeconds() {
        double upSeconds = ManagementFactory.getRuntimeMXBean().getUptime() / 1e3;
        return upSeconds - (System.nanoTime() - beganNanos) / 1e9;
    }
}
