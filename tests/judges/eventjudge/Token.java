import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.Signature;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/** A transaction token that was valid at the time of an event. */
record Token(String subject, String transaction, String tenant) {
  private static final String REASON = "TransactionTokenInvalid";
  private static final Json.Limits LIMITS = new Json.Limits(8, 4096, false);
  private static final BigDecimal LEEWAY = BigDecimal.valueOf(60);
  private static final BigDecimal MOST_LIFETIME = BigDecimal.valueOf(15 * 60);
  private static final String UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
  private static final String SCOPE = "[!#-\\[\\]-~]+";

  static void check(
      Map<String, String> attributes, Bundles bundles, String trustDomain, Object issuer, long at)
      throws Rejected {
    Token token;
    try {
      token = read(attributes.get("trothtxntoken"), bundles, trustDomain, issuer, at);
    } catch (GeneralSecurityException | RuntimeException fault) {
      throw new Rejected(REASON, "it is no token: " + fault.getMessage());
    }
    boolean repeated =
        token.subject.equals(attributes.get("authid"))
            && token.transaction.equals(attributes.get("trothtxn"))
            && Objects.equals(token.tenant, attributes.get("trothtenant"));
    require(repeated, "the token is for another context");
  }

  private static Token read(
      String text, Bundles bundles, String trustDomain, Object issuer, long at)
      throws Rejected, GeneralSecurityException {
    require(text != null && issuer != null, "there is no token, or no issuer");
    String[] parts = text.split("\\.", -1);
    require(parts.length == 3 && text.length() <= 8192, "it has not three parts");
    Map<String, Object> header = Json.object(Json.read(decoded(parts[0]), LIMITS));
    require(header.keySet().equals(Set.of("alg", "kid", "typ")), "its header has other members");
    require(header.get("alg").equals("ES256"), "it has another algorithm");
    require(header.get("typ").equals("txntoken+jwt"), "it is no transaction token");
    Bundles.TokenKey key = bundles.tokenKey(trustDomain, header.get("kid"));
    require(key != null && at <= key.last(), "its key is unknown, or was retired before");
    Signature verifier = Signature.getInstance("SHA256withECDSAinP1363Format");
    verifier.initVerify(key.key());
    verifier.update((parts[0] + "." + parts[1]).getBytes(StandardCharsets.US_ASCII));
    require(verifier.verify(decoded(parts[2])), "its signature is invalid");
    Map<String, Object> claims = Json.object(Json.read(decoded(parts[1]), LIMITS));
    require(claims.get("iss").equals(issuer), "it is from another issuer");
    require(claims.get("aud").equals(trustDomain), "it has another audience");
    checkTimes(claims, BigDecimal.valueOf(at));
    return claimed(claims, trustDomain);
  }

  private static void checkTimes(Map<String, Object> claims, BigDecimal at) throws Rejected {
    BigDecimal expires = (BigDecimal) claims.get("exp");
    BigDecimal issued = (BigDecimal) claims.get("iat");
    BigDecimal begins = (BigDecimal) claims.getOrDefault("nbf", issued);
    BigDecimal lifetime = expires.subtract(issued);
    boolean bounded = lifetime.signum() > 0 && lifetime.compareTo(MOST_LIFETIME) <= 0;
    require(bounded && issued.min(begins).signum() >= 0, "it has no lifetime of 1 to 900 seconds");
    require(at.subtract(LEEWAY).compareTo(expires) < 0, "it had expired");
    require(at.add(LEEWAY).compareTo(issued.max(begins)) >= 0, "it was not yet valid");
  }

  private static Token claimed(Map<String, Object> claims, String trustDomain) throws Rejected {
    String subject = (String) claims.get("sub");
    String transaction = (String) claims.get("txn");
    require(Forms.isText(subject) && transaction.matches(UUID), "it lacks sub or txn");
    String scope = (String) claims.get("scope");
    require(scope.matches("(" + SCOPE + "( " + SCOPE + ")*)?"), "its scope has another form");
    String[] workloads = ((String) claims.get("req_wl")).split(",", -1);
    require(workloads.length <= 8, "too many workloads requested it");
    for (String each : workloads) {
      boolean own = Forms.isWorkload(each) && Forms.trustDomain(each).equals(trustDomain);
      require(own, "another trust domain requested it");
    }
    Map<String, Object> context = Json.object(claims.get("tctx"));
    Map<String, Object> request = Json.object(claims.getOrDefault("rctx", Map.of()));
    require(areTexts(context) && areTexts(request), "tctx or rctx is no object of texts");
    return new Token(subject, transaction, (String) context.get("tenant"));
  }

  private static boolean areTexts(Map<String, Object> members) {
    return members.entrySet().stream()
        .allMatch(
            each ->
                Forms.isText(each.getKey())
                    && each.getValue() instanceof String text
                    && Forms.isText(text));
  }

  private static byte[] decoded(String part) {
    return Encodings.base64url(part).orElseThrow();
  }

  private static void require(boolean holds, String detail) throws Rejected {
    Rejected.unless(holds, REASON, detail);
  }
}
