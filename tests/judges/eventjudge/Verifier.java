import java.math.BigDecimal;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** The section "Verification": what a consumer knows, and its checks in their order. */
record Verifier(
    String spiffeId, Map<String, Object> issuers, Bundles bundles, Map<String, Object> entry,
    BigDecimal now) {
  private static final int LIMIT = 1024 * 1024;
  private static final BigDecimal TOLERANCE = BigDecimal.valueOf(300);
  private static final BigDecimal DEFAULT_MAX_AGE = BigDecimal.valueOf(7 * 24 * 3600);
  private static final Map<String, String> CARRIERS =
      Map.of("Subject", "authid", "Tenant", "trothtenant", "RequestID", "trothtxn");

  /** What a broker delivers; data is null without any. */
  record Message(
      boolean kafka, String topic, List<Headers.Header> headers, byte[] data, BigDecimal storedAt) {}

  /** Returns the attributes of an accepted event. */
  Map<String, String> open(Message message) throws Rejected, GeneralSecurityException {
    boolean granted = entry != null && "Consume".equals(entry.get("action"));
    Rejected.unless(granted, "NotGranted", "there is no entry with the action Consume");
    Map<String, String> attributes = Headers.attributes(message.kafka(), message.headers());
    byte[] data = message.data();
    Rejected.unless(data != null, "Malformed", "there is no data");
    Rejected.unless(data.length <= LIMIT, "TooLarge", "there is too much data");
    Rejected.unless(attributes.containsKey("dssematerial"), "Unsigned", "there is no seal");
    Forms.check(attributes);
    long at = Forms.seconds(attributes.get("time")).orElseThrow();
    checkSeal(attributes, data, at);
    checkPlace(attributes, message.topic());
    checkTimes(BigDecimal.valueOf(at), message.storedAt());
    checkContext(attributes, at);
    checkSchema(attributes, data);
    return attributes;
  }

  private void checkSeal(Map<String, String> attributes, byte[] data, long at)
      throws Rejected, GeneralSecurityException {
    Seal seal = Seal.read(attributes.get("dssematerial"));
    Rejected.unless(
        Arrays.equals(seal.payload(), Seal.payload(attributes, data)),
        "SignatureInvalid",
        "the payload is another message's");
    Chain chain = Chain.verified(attributes.get("trothchain"), bundles, at);
    Rejected.unless(
        chain.spiffeId.equals(attributes.get("source")),
        "SignatureInvalid",
        "source is not the leaf's SPIFFE ID");
    seal.verify(chain.leaf);
    List<Object> producers = Json.list(entry.getOrDefault("producers", List.of()));
    Rejected.unless(
        producers.contains(chain.spiffeId), "ProducerNotGranted", "it may not publish");
  }

  private void checkPlace(Map<String, String> attributes, String delivered) throws Rejected {
    boolean policy =
        attributes.get("trothpolicy").equals(entry.get("policy"))
            && attributes.get("trothbroker").equals(entry.get("broker"));
    Rejected.unless(policy, "WrongPolicy", "it is for another policy or broker");
    Rejected.unless(
        attributes.get("trothenvironment").equals(entry.get("environment")),
        "WrongEnvironment",
        "it is for another environment");
    String topic = attributes.get("trothtopic");
    boolean allowed =
        entry.get("prefix") instanceof String prefix
            ? topic.startsWith(prefix)
            : topic.equals(entry.get("topic"));
    Rejected.unless(
        allowed && topic.equals(delivered), "WrongTopic", "it is for another topic");
  }

  private void checkTimes(BigDecimal at, BigDecimal storedAt) throws Rejected {
    Object maxAge = context().getOrDefault("maxAge", DEFAULT_MAX_AGE);
    BigDecimal age = now.subtract(at);
    Rejected.unless(age.compareTo((BigDecimal) maxAge) <= 0, "Expired", "it is too old");
    Rejected.unless(
        age.negate().compareTo(TOLERANCE) <= 0, "NotYetValid", "it is from the future");
    Rejected.unless(
        storedAt == null || storedAt.subtract(at).abs().compareTo(TOLERANCE) <= 0,
        "TimeMismatch",
        "it was stored at another time");
  }

  private void checkContext(Map<String, String> attributes, long at) throws Rejected {
    for (Object item : Json.list(context().getOrDefault("require", List.of()))) {
      Rejected.unless(
          item.equals("Actor") || attributes.containsKey(CARRIERS.get(item)),
          "ContextMissing",
          "there is no " + item);
    }
    if ("TransactionToken".equals(context().get("evidence"))) {
      String own = Forms.trustDomain(spiffeId);
      Token.check(attributes, bundles, own, issuers.get(own), at);
    }
    if (entry.get("tenants") instanceof List<?> tenants) {
      Rejected.unless(
          tenants.contains(attributes.get("trothtenant")), "TenantNotAccepted", "another tenant");
    }
  }

  private void checkSchema(Map<String, String> attributes, byte[] data) throws Rejected {
    Rejected.unless(entry.get("schemaFault") == null, "SchemaUnavailable", "there is a fault");
    List<Object> schemas = Json.list(entry.getOrDefault("schemas", List.of()));
    if (schemas.isEmpty()) {
      return;
    }
    for (Object each : schemas) {
      Map<String, Object> schema = Json.object(each);
      String name = "ni:///sha-256;" + schema.get("digest") + "?policy=" + entry.get("policy");
      if (name.equals(attributes.get("dataschema"))) {
        Rejected.unless(
            satisfies(data, (String) schema.get("text")), "SchemaInvalid", "the data is invalid");
        return;
      }
    }
    throw new Rejected("SchemaUnknown", "dataschema names no accepted schema");
  }

  private static boolean satisfies(byte[] data, String schema) {
    Object value;
    try {
      value = Json.read(data, new Json.Limits(64, 250_000, true));
    } catch (IllegalArgumentException fault) {
      return false;
    }
    return Schema.isSatisfied(Json.read(schema), value);
  }

  private Map<String, Object> context() {
    return Json.object(entry.getOrDefault("context", Map.of()));
  }
}
