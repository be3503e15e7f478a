import java.util.Arrays;

/** The first ten of a list as of a time. A POJO. */
public class TopList {
    static final int K = 10;
    /** The list of all items. */
    static final int GLOBAL = -1;

    public long tUs;
    public int list;
    /** Members as {@link #packed}, best first. */
    public long[] members = new long[0];

    public TopList() {}

    TopList(long tUs, int list) {
        this.tUs = tUs;
        this.list = list;
    }

    /**
     * An item with its score as one number, whose order is that of the lists: greater scores first,
     * among equals the smaller item. A list then is a sorted array or tree of numbers, without an
     * object for each member. Scores are below 2^31.
     */
    static long packed(int item, long score) {
        return (-score << 32) | item;
    }

    static int item(long packed) {
        return (int) packed;
    }

    static long score(long packed) {
        return -(packed >> 32);
    }

    /** Takes a member in if it is among the first ten. */
    void offer(long packed) {
        if (members.length == K && packed >= members[K - 1]) {
            return;
        }
        int place = -Arrays.binarySearch(members, packed) - 1;
        long[] more = Arrays.copyOf(members, Math.min(members.length + 1, K));
        System.arraycopy(members, place, more, place + 1, more.length - place - 1);
        more[place] = packed;
        members = more;
    }

    /** `T_us,list,item:score item:score ...` */
    void write(StringBuilder out) {
        out.append(tUs).append(',');
        if (list == GLOBAL) {
            out.append("global");
        } else {
            out.append(list);
        }
        char before = ',';
        for (long member : members) {
            out.append(before).append(item(member)).append(':').append(score(member));
            before = ' ';
        }
        out.append('\n');
    }
}
