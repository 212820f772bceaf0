import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.crypto.ECDSASigner;
import com.nimbusds.jose.jwk.ECKey;
import com.nimbusds.jose.jwk.JWK;
import com.nimbusds.jose.jwk.JWKSet;
import com.nimbusds.jose.jwk.source.ImmutableJWKSet;
import com.nimbusds.jose.proc.BadJOSEException;
import com.nimbusds.jose.proc.DefaultJOSEObjectTypeVerifier;
import com.nimbusds.jose.proc.JWSVerificationKeySelector;
import com.nimbusds.jose.proc.SecurityContext;
import com.nimbusds.jose.util.Base64URL;
import com.nimbusds.jose.util.JSONObjectUtils;
import com.nimbusds.jose.util.X509CertUtils;
import com.nimbusds.jwt.JWT;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.JWTParser;
import com.nimbusds.jwt.SignedJWT;
import com.nimbusds.jwt.proc.BadJWTException;
import com.nimbusds.jwt.proc.DefaultJWTClaimsVerifier;
import com.nimbusds.jwt.proc.DefaultJWTProcessor;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.cert.X509Certificate;
import java.text.ParseException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Verifies Troth's tokens with Nimbus JOSE+JWT, and makes tokens with it for Troth to verify.
 *
 * <p>It reads one question per line as JSON and answers each with a line of JSON, so that a table
 * of tokens needs only one Java process.
 */
public final class TokenJudge {
  private static final Set<String> ACCESS =
      Set.of("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "scope", "client_id");
  private static final Set<String> TRANSACTION =
      Set.of("iss", "sub", "aud", "exp", "iat", "txn", "scope", "req_wl", "tctx");
  private static final JOSEObjectType TRANSACTION_TYPE = new JOSEObjectType("txntoken+jwt");

  public static void main(String[] none) throws Exception {
    BufferedReader questions =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String line; (line = questions.readLine()) != null; ) {
      answers.println(JSONObjectUtils.toJSONString(answer(JSONObjectUtils.parse(line))));
    }
  }

  private static Map<String, Object> answer(Map<String, Object> question) throws Exception {
    String act = JSONObjectUtils.getString(question, "do");
    try {
      return switch (act) {
        case "access" -> Map.of("ok", true, "says", access(question));
        case "transaction" -> Map.of("ok", true, "says", transaction(question));
        case "webhook" -> Map.of("ok", true, "says", webhook(question));
        case "mint" -> Map.of("ok", true, "says", "", "token", mint(question));
        default -> throw new IllegalArgumentException("there is no " + act + " to do");
      };
    } catch (ParseException | BadJOSEException | JOSEException refused) {
      return Map.of("ok", false, "says", String.valueOf(refused.getMessage()));
    }
  }

  /** Verifies a JWT-SVID with the key and issuer of its subject's trust domain. */
  private static String access(Map<String, Object> question)
      throws ParseException, BadJOSEException, JOSEException {
    JWT token = JWTParser.parse(JSONObjectUtils.getString(question, "token"));
    JWTClaimsSet unverified = token.getJWTClaimsSet();
    String domain = unverified == null ? null : trustDomain(unverified.getSubject());
    JWTClaimsSet claims = processFor(domain, question, token, JOSEObjectType.JWT, ACCESS);
    checkHolder(claims, JSONObjectUtils.getString(question, "certificate"));
    return claims.getSubject();
  }

  private static String transaction(Map<String, Object> question)
      throws ParseException, BadJOSEException, JOSEException {
    JWT token = JWTParser.parse(JSONObjectUtils.getString(question, "token"));
    String domain = JSONObjectUtils.getString(question, "trustDomain");
    return processFor(domain, question, token, TRANSACTION_TYPE, TRANSACTION).getSubject();
  }

  /** Verifies a gateway's token with the key set (RFC 7517) that its target mounts. */
  private static String webhook(Map<String, Object> question)
      throws ParseException, BadJOSEException, JOSEException {
    JWT token = JWTParser.parse(JSONObjectUtils.getString(question, "token"));
    JWKSet keys = JWKSet.parse(JSONObjectUtils.getJSONObject(question, "keySet"));
    String issuer = JSONObjectUtils.getString(question, "issuer");
    return process(question, token, keys, issuer, TRANSACTION_TYPE, TRANSACTION).getSubject();
  }

  private static JWTClaimsSet processFor(
      String domain,
      Map<String, Object> question,
      JWT token,
      JOSEObjectType type,
      Set<String> required)
      throws ParseException, BadJOSEException, JOSEException {
    Map<String, Object> issuers = JSONObjectUtils.getJSONObject(question, "issuers");
    Map<String, Object> bundles = JSONObjectUtils.getJSONObject(question, "bundles");
    if (domain == null || !bundles.containsKey(domain)) {
      throw new BadJWTException("There is no bundle for the trust domain " + domain);
    }
    JWKSet keys = tokenKeys(JSONObjectUtils.getJSONObject(bundles, domain));
    return process(question, token, keys, (String) issuers.get(domain), type, required);
  }

  /** Verifies a token strictly: one algorithm, one type, exact issuer, audience, required claims. */
  private static JWTClaimsSet process(
      Map<String, Object> question,
      JWT token,
      JWKSet keys,
      String issuer,
      JOSEObjectType type,
      Set<String> required)
      throws ParseException, BadJOSEException, JOSEException {
    DefaultJWTProcessor<SecurityContext> processor = new DefaultJWTProcessor<>();
    processor.setJWSTypeVerifier(new DefaultJOSEObjectTypeVerifier<>(type));
    processor.setJWSKeySelector(
        new JWSVerificationKeySelector<>(JWSAlgorithm.ES256, new ImmutableJWKSet<>(keys)));
    processor.setJWTClaimsSetVerifier(
        new DefaultJWTClaimsVerifier<>(
            JSONObjectUtils.getString(question, "audience"),
            new JWTClaimsSet.Builder().issuer(issuer).build(),
            required));
    return processor.process(token, null);
  }

  /**
   * Returns the keys of a SPIFFE bundle that verify tokens.
   *
   * <p>Nimbus reads the whole bundle, but its selector accepts only keys whose use is "sig" or
   * absent, and SPIFFE defines other uses.
   */
  private static JWKSet tokenKeys(Map<String, Object> bundle) throws ParseException {
    List<JWK> keys = new ArrayList<>();
    for (JWK key : JWKSet.parse(bundle).getKeys()) {
      if (key.getKeyUse() != null && key.getKeyUse().identifier().equals("jwt-svid")) {
        keys.add(new ECKey.Builder(key.toECKey()).keyUse(null).build());
      }
    }
    return new JWKSet(keys);
  }

  private static String trustDomain(String subject) {
    try {
      return subject == null ? null : URI.create(subject).getHost();
    } catch (IllegalArgumentException notAnAddress) {
      return null;
    }
  }

  /** Checks that the certificate is the one to which the token is bound (RFC 8705 section 3). */
  private static void checkHolder(JWTClaimsSet claims, String certificate)
      throws ParseException, BadJWTException {
    if (!claims.getClaims().containsKey("cnf")) {
      return;
    }
    Map<String, Object> confirmation = claims.getJSONObjectClaim("cnf");
    X509Certificate shown =
        certificate == null ? null : X509CertUtils.parse(Base64.getDecoder().decode(certificate));
    Base64URL thumbprint = shown == null ? null : X509CertUtils.computeSHA256Thumbprint(shown);
    if (thumbprint == null
        || confirmation == null
        || !thumbprint.toString().equals(JSONObjectUtils.getString(confirmation, "x5t#S256"))) {
      throw new BadJWTException("It is bound to another certificate");
    }
  }

  private static String mint(Map<String, Object> question) throws ParseException, JOSEException {
    ECKey key = ECKey.parse(JSONObjectUtils.getJSONObject(question, "key"));
    JWSHeader header =
        new JWSHeader.Builder(JWSAlgorithm.ES256)
            .type(new JOSEObjectType(JSONObjectUtils.getString(question, "type")))
            .keyID(key.getKeyID())
            .build();
    SignedJWT token =
        new SignedJWT(header, JWTClaimsSet.parse(JSONObjectUtils.getJSONObject(question, "claims")));
    token.sign(new ECDSASigner(key));
    return token.serialize();
  }

  private TokenJudge() {}
}
