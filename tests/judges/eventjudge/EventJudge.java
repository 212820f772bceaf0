import java.io.PrintStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Verifies Troth's events as docs/events.md specifies them, with the JDK alone.
 *
 * <p>It was written from that page and its sources, without Troth's own verifier. It reads a file
 * of vectors (docs/reference/event-vectors.json) on its standard input, and prints a line of JSON
 * for each: name, verdict, a detail for people, and the attributes of an accepted event.
 */
public final class EventJudge {
  private final Map<String, Object> file;

  private EventJudge(Map<String, Object> file) {
    this.file = file;
  }

  public static void main(String[] arguments) throws Exception {
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.US_ASCII);
    EventJudge judge = new EventJudge(Json.object(Json.read(System.in.readAllBytes())));
    for (Object each : Json.list(judge.file.get("vectors"))) {
      out.println(Json.write(judge.answer(Json.object(each))));
    }
    out.flush();
  }

  private Map<String, Object> answer(Map<String, Object> vector) throws GeneralSecurityException {
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("name", vector.get("name"));
    try {
      Map<String, String> attributes = verifier(vector).open(message(vector));
      answer.put("verdict", "Accepted");
      attributes.keySet().retainAll(Seal.COVERED);
      answer.put("attributes", attributes);
    } catch (Rejected rejected) {
      answer.put("verdict", rejected.reason);
      answer.put("detail", String.valueOf(rejected.getMessage()));
    }
    return answer;
  }

  private Verifier verifier(Map<String, Object> vector) throws GeneralSecurityException {
    Map<String, Object> identity = Json.object(file.get("identity"));
    Object entry = file.get("entry");
    if (vector.containsKey("entry")) {
      entry = vector.get("entry") == null ? null : merged(entry, vector.get("entry"));
    }
    return new Verifier(
        (String) identity.get("spiffeID"),
        Json.object(identity.get("issuers")),
        new Bundles(vector.getOrDefault("bundles", file.get("bundles"))),
        entry == null ? null : Json.object(entry),
        (BigDecimal) vector.getOrDefault("now", file.get("now")));
  }

  private static Verifier.Message message(Map<String, Object> vector) {
    List<Headers.Header> headers = new ArrayList<>();
    for (Object each : Json.list(vector.get("headers"))) {
      List<Object> header = Json.list(each);
      byte[] value = octets(header.get(1));
      headers.add(
          new Headers.Header((String) header.get(0), value == null ? new byte[0] : value));
    }
    BigDecimal others = (BigDecimal) vector.getOrDefault("otherHeaders", BigDecimal.ZERO);
    for (int i = 0; i < others.intValueExact(); i++) {
      headers.add(new Headers.Header("x-" + i, new byte[] {'x'}));
    }
    return new Verifier.Message(
        vector.get("binding").equals("Kafka"),
        (String) vector.get("topic"),
        headers,
        octets(vector.get("data")),
        (BigDecimal) vector.get("storedAt"));
  }

  /** Returns bytes that are given as a text, in base64, or as a text that is repeated. */
  private static byte[] octets(Object value) {
    if (value == null) {
      return null;
    } else if (value instanceof String text) {
      return text.getBytes(StandardCharsets.UTF_8);
    }
    Map<String, Object> rule = Json.object(value);
    if (rule.get("base64") instanceof String text) {
      return Base64.getDecoder().decode(text);
    }
    String text = (String) rule.get("repeat");
    return text.repeat(((BigDecimal) rule.get("times")).intValueExact())
        .getBytes(StandardCharsets.UTF_8);
  }

  /** Applies a JSON merge patch (RFC 7396). */
  private static Object merged(Object target, Object patch) {
    if (!(patch instanceof Map)) {
      return patch;
    }
    Map<String, Object> members = new LinkedHashMap<>();
    if (target instanceof Map) {
      members.putAll(Json.object(target));
    }
    Json.object(patch)
        .forEach(
            (name, value) -> {
              if (value == null) {
                members.remove(name);
              } else {
                members.put(name, merged(members.get(name), value));
              }
            });
    return members;
  }
}
