import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A strict reader of JSON (RFC 8259): maps, lists, strings, BigDecimal, Boolean and null. */
final class Json {
  /** What a text may have at most. */
  record Limits(int levels, int values, boolean fractions) {}

  private static final Limits LARGE = new Limits(128, Integer.MAX_VALUE, true);

  private final String text;
  private final Limits limits;
  private int at;
  private int values;

  private Json(String text, Limits limits) {
    this.text = text;
    this.limits = limits;
  }

  /** Reads a text of UTF-8 bytes; members with one name twice are an error. */
  static Object read(byte[] document) {
    return read(document, LARGE);
  }

  static Object read(String document) {
    return read(document, LARGE);
  }

  static Object read(byte[] document, Limits limits) {
    return read(utf8(document), limits);
  }

  private static Object read(String document, Limits limits) {
    Json reader = new Json(document, limits);
    Object value = reader.value(0);
    reader.space();
    reader.require(reader.at == document.length());
    return value;
  }

  static String utf8(byte[] bytes) {
    try {
      // A new decoder reports faults; the constructor of String replaces them.
      return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
    } catch (CharacterCodingException fault) {
      throw new IllegalArgumentException("this is not UTF-8", fault);
    }
  }

  @SuppressWarnings("unchecked")
  static Map<String, Object> object(Object value) {
    return (Map<String, Object>) value;
  }

  @SuppressWarnings("unchecked")
  static List<Object> list(Object value) {
    return (List<Object>) value;
  }

  static String write(Object value) {
    if (value instanceof String string) {
      StringBuilder out = new StringBuilder("\"");
      for (char one : string.toCharArray()) {
        if (one < ' ' || one == '"' || one == '\\' || one > '~') {
          out.append(String.format("\\u%04x", (int) one));
        } else {
          out.append(one);
        }
      }
      return out.append('"').toString();
    }
    List<String> members = new ArrayList<>();
    object(value).forEach((name, member) -> members.add(write(name) + ":" + write(member)));
    return "{" + String.join(",", members) + "}";
  }

  private Object value(int depth) {
    count();
    space();
    char first = peek();
    require(depth < limits.levels || (first != '{' && first != '['));
    if (first == '{') {
      return object(depth);
    } else if (first == '[') {
      return list(depth);
    } else if (first == '"') {
      return string();
    } else if (first == 't') {
      return word("true", true);
    } else if (first == 'f') {
      return word("false", false);
    } else if (first == 'n') {
      return word("null", null);
    }
    return number();
  }

  private void count() {
    values++;
    require(values <= limits.values);
  }

  private Map<String, Object> object(int depth) {
    Map<String, Object> members = new LinkedHashMap<>();
    at++;
    space();
    if (skip('}')) {
      count(); // an empty object or array counts as two values
      return members;
    }
    do {
      space();
      String name = string();
      space();
      require(skip(':'));
      require(!members.containsKey(name));
      members.put(name, value(depth + 1));
      space();
    } while (skip(','));
    require(skip('}'));
    return members;
  }

  private List<Object> list(int depth) {
    List<Object> items = new ArrayList<>();
    at++;
    space();
    if (skip(']')) {
      count();
      return items;
    }
    do {
      items.add(value(depth + 1));
      space();
    } while (skip(','));
    require(skip(']'));
    return items;
  }

  private String string() {
    require(skip('"'));
    StringBuilder out = new StringBuilder();
    while (!skip('"')) {
      char one = next();
      require(one >= ' ');
      out.append(one == '\\' ? escaped() : one);
    }
    String read = out.toString();
    read.codePoints().forEach(each -> require(each < 0xD800 || each > 0xDFFF));
    return read;
  }

  private char escaped() {
    char one = next();
    if (one == 'u') {
      require(at + 4 <= text.length() && text.substring(at, at + 4).matches("[0-9A-Fa-f]{4}"));
      at += 4;
      return (char) Integer.parseInt(text.substring(at - 4, at), 16);
    }
    int which = "\"\\/bfnrt".indexOf(one);
    require(which >= 0);
    return "\"\\/\b\f\n\r\t".charAt(which);
  }

  private BigDecimal number() {
    int start = at;
    while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
    String read = text.substring(start, at);
    require(read.matches("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?"));
    require(limits.fractions || read.matches("-?[0-9]+"));
    require(!Double.isInfinite(Double.parseDouble(read)));
    return new BigDecimal(read);
  }

  private Object word(String word, Object meaning) {
    require(text.startsWith(word, at));
    at += word.length();
    return meaning;
  }

  private void space() {
    while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
  }

  private char peek() {
    require(at < text.length());
    return text.charAt(at);
  }

  private char next() {
    char one = peek();
    at++;
    return one;
  }

  private boolean skip(char expected) {
    boolean found = at < text.length() && text.charAt(at) == expected;
    at += found ? 1 : 0;
    return found;
  }

  private void require(boolean holds) {
    if (!holds) {
      throw new IllegalArgumentException("this is not JSON at character " + at);
    }
  }
}
