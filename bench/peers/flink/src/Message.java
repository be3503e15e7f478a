/** A line of the input. A POJO as Flink wants it, so that it is serialized field by field. */
public class Message {
    public long atUs;
    public int item;
    public int category;
    public boolean isClick;
    /** What a click adds to the score; how many units there are from now on. */
    public long amount;

    /** `arrival_us,at_us,kind,item,category,amount`; null for the header. */
    static Message parse(String line) {
        if (line.charAt(0) == 'a') {
            return null;
        }
        int arrival = line.indexOf(',');
        int at = line.indexOf(',', arrival + 1);
        int kind = line.indexOf(',', at + 1);
        int item = line.indexOf(',', kind + 1);
        int category = line.indexOf(',', item + 1);
        Message message = new Message();
        message.atUs = Long.parseLong(line, arrival + 1, at, 10);
        message.isClick = line.charAt(at + 1) == 'c';
        message.item = Integer.parseInt(line, kind + 1, item, 10);
        message.category = Integer.parseInt(line, item + 1, category, 10);
        message.amount = Long.parseLong(line, category + 1, line.length(), 10);
        return message;
    }
}
