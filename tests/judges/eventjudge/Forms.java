import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
import java.time.format.ResolverStyle;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalLong;
import java.util.function.Predicate;
import java.util.regex.Pattern;

/** The section "Attributes": the form of each value. */
final class Forms {
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss'Z'", Locale.ROOT)
          .withResolverStyle(ResolverStyle.STRICT);
  private static final Pattern TIME_FORM =
      Pattern.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z");
  private static final String RESTRICTED_NAME = "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}";
  private static final Pattern MEDIA_TYPE =
      Pattern.compile(
          RESTRICTED_NAME
              + "/"
              + RESTRICTED_NAME
              + "(; ?[A-Za-z0-9-]{1,64}=[A-Za-z0-9._-]{1,64}){0,4}");
  private static final Pattern SPIFFE_ID =
      Pattern.compile("spiffe://([a-z0-9._-]{1,255})((?:/[A-Za-z0-9._-]+)+)");
  private static final List<String> REQUIRED =
      List.of(
          "id", "source", "specversion", "type", "datacontenttype", "time", "trothpolicy",
          "trothbroker", "trothtopic", "trothenvironment", "trothchain");
  private static final Map<String, Predicate<String>> FORMS =
      Map.ofEntries(
          Map.entry("id", Forms::isText),
          Map.entry("source", Forms::isWorkload),
          Map.entry("specversion", "1.0"::equals),
          Map.entry("type", Pattern.compile("[A-Za-z0-9._:/-]{1,256}").asMatchPredicate()),
          Map.entry("datacontenttype", Forms::isMediaType),
          Map.entry("subject", Forms::isText),
          Map.entry("time", value -> seconds(value).isPresent()),
          Map.entry("authtype", Forms::isText),
          Map.entry("authid", Forms::isText),
          Map.entry("trothtenant", Forms::isText),
          Map.entry("trothtxn", Forms::isText));

  static void check(Map<String, String> attributes) throws Rejected {
    for (String name : REQUIRED) {
      Rejected.unless(attributes.containsKey(name), "Malformed", "there is no " + name);
    }
    for (Map.Entry<String, String> each : attributes.entrySet()) {
      Predicate<String> form = FORMS.getOrDefault(each.getKey(), value -> true);
      Rejected.unless(form.test(each.getValue()), "Malformed", each.getKey() + " has another form");
    }
  }

  /** Returns the seconds since 1970 of a time in the one form. */
  static OptionalLong seconds(String value) {
    try {
      long read = LocalDateTime.parse(value, TIME).toEpochSecond(ZoneOffset.UTC);
      boolean allowed = read >= 0 && TIME_FORM.matcher(value).matches();
      return allowed ? OptionalLong.of(read) : OptionalLong.empty();
    } catch (DateTimeParseException fault) {
      return OptionalLong.empty();
    }
  }

  /** Returns whether a text is a SPIFFE ID with a path. */
  static boolean isWorkload(String value) {
    var matcher = SPIFFE_ID.matcher(value);
    return value.length() <= 2048
        && matcher.matches()
        && List.of(matcher.group(2).split("/")).stream()
            .noneMatch(segment -> segment.equals(".") || segment.equals(".."));
  }

  static String trustDomain(String spiffeId) {
    return spiffeId.substring("spiffe://".length()).split("/", 2)[0];
  }

  private static boolean isMediaType(String value) {
    return MEDIA_TYPE.matcher(value).matches()
        && !value.toLowerCase(Locale.ROOT).startsWith("application/cloudevents");
  }

  static boolean isText(String value) {
    int count = value.codePointCount(0, value.length());
    return 1 <= count
        && count <= 256
        && value.codePoints().allMatch(one -> one == ' ' || isVisible(one));
  }

  private static boolean isVisible(int one) {
    return switch (Character.getType(one)) {
      case Character.CONTROL,
          Character.FORMAT,
          Character.SURROGATE,
          Character.PRIVATE_USE,
          Character.UNASSIGNED,
          Character.SPACE_SEPARATOR,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR -> false;
      default -> true;
    };
  }

  private Forms() {}
}
