import java.io.ByteArrayOutputStream;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The section "Headers": from the headers of a message to the attributes of an event. */
final class Headers {
  record Header(String name, byte[] value) {}

  private static final int MOST_HEADERS = 256;
  private static final int MOST_BYTES = 512 * 1024;
  private static final int MOST_ATTRIBUTES = 64;
  private static final int MOST_CHARACTERS = 1024;
  private static final int BYTES_OF_A_CHARACTER = 12; // UTF-8 has four, and three encode each
  private static final Map<String, Integer> LONGER =
      Map.of(
          "source", 2048,
          "dataschema", 2048,
          "dssematerial", 8192,
          "trothtxntoken", 8192,
          "trothchain", 16384,
          "trothorigin", 8192,
          "trothheaders", 262144);

  static Map<String, String> attributes(boolean kafka, List<Header> headers) throws Rejected {
    int count = 0;
    long size = 0;
    Map<String, String> attributes = new LinkedHashMap<>();
    for (Header each : headers) {
      count++;
      size += characters(each.name()) + each.value().length;
      Rejected.unless(
          count <= MOST_HEADERS && size <= MOST_BYTES, "TooLarge", "too many headers");
      String name = attribute(kafka, each.name());
      if (name == null) {
        continue;
      }
      Rejected.unless(!attributes.containsKey(name), "Malformed", name + " is there twice");
      Rejected.unless(each.value().length > 0, "Malformed", name + " is empty");
      int most = LONGER.getOrDefault(name, MOST_CHARACTERS);
      Rejected.unless(
          each.value().length <= BYTES_OF_A_CHARACTER * most, "TooLarge", name + " is too long");
      String value = value(kafka, name, each.value());
      Rejected.unless(characters(value) <= most, "TooLarge", name + " is too long");
      attributes.put(name, value);
      Rejected.unless(attributes.size() <= MOST_ATTRIBUTES, "TooLarge", "too many attributes");
    }
    return attributes;
  }

  private static int characters(String value) {
    return value.codePointCount(0, value.length());
  }

  /** Returns the attribute that a header carries, null if it carries none. */
  private static String attribute(boolean kafka, String header) throws Rejected {
    if (kafka && header.equals("content-type")) {
      return "datacontenttype";
    }
    String prefix = kafka ? "ce_" : "ce-";
    if (header.startsWith(prefix)) {
      String name = header.substring(prefix.length());
      boolean allowed =
          name.matches("[a-z0-9]{1,20}") && !(kafka && name.equals("datacontenttype"));
      Rejected.unless(allowed, "Malformed", header + " is no header of an attribute");
      return name;
    }
    String plain = header.strip().toLowerCase(Locale.ROOT).replace('_', '-');
    boolean similar = plain.startsWith("ce-") || (kafka && plain.equals("content-type"));
    Rejected.unless(!similar, "Malformed", header + " has another spelling");
    return null;
  }

  private static String value(boolean kafka, String name, byte[] value) throws Rejected {
    try {
      return kafka ? Json.utf8(value) : percentDecoded(value);
    } catch (IllegalArgumentException fault) {
      throw new Rejected("Malformed", name + ": " + fault.getMessage());
    }
  }

  private static String percentDecoded(byte[] value) {
    ByteArrayOutputStream decoded = new ByteArrayOutputStream();
    for (int i = 0; i < value.length; i++) {
      int one = value[i];
      if (one == '%') {
        require(i + 2 < value.length);
        one = hexadecimal(value[i + 1]) * 16 + hexadecimal(value[i + 2]);
        require(mustBeEncoded(one));
        i += 2;
      } else {
        require(!mustBeEncoded(one & 0xFF));
      }
      decoded.write(one);
    }
    return Json.utf8(decoded.toByteArray());
  }

  private static boolean mustBeEncoded(int one) {
    return one <= ' ' || one > '~' || one == '"' || one == '%';
  }

  private static int hexadecimal(byte digit) {
    int value = "0123456789ABCDEF".indexOf(digit);
    require(value >= 0);
    return value;
  }

  private static void require(boolean holds) {
    if (!holds) {
      throw new IllegalArgumentException("it is not percent-encoded as it must be");
    }
  }

  private Headers() {}
}
