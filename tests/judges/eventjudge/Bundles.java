import java.io.ByteArrayInputStream;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.ECParameterSpec;
import java.security.spec.ECPoint;
import java.security.spec.ECPublicKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** SPIFFE bundles by trust domain. */
final class Bundles {
  private static final long TOLERANCE = 300;

  private final Map<String, List<Authority>> authorities = new HashMap<>();
  private final Map<String, Map<String, TokenKey>> tokenKeys = new HashMap<>();

  /** A certificate, and the last time that it vouches for, in seconds since 1970. */
  record Authority(X509Certificate certificate, long last) {}

  /** A token key, and the last time of an event that it verifies, in seconds since 1970. */
  record TokenKey(PublicKey key, long last) {}

  Bundles(Object document) throws GeneralSecurityException {
    for (var each : Json.object(Json.object(document).get("trust_domains")).entrySet()) {
      List<Authority> roots = new ArrayList<>();
      Map<String, TokenKey> keys = new HashMap<>();
      for (Object key : Json.list(Json.object(each.getValue()).get("keys"))) {
        Map<String, Object> jwk = Json.object(key);
        if (jwk.get("use").equals("x509-svid")) {
          String der = (String) Json.list(jwk.get("x5c")).get(0);
          roots.add(new Authority(certificate(Base64.getDecoder().decode(der)), last(jwk)));
        } else {
          keys.put((String) jwk.get("kid"), new TokenKey(tokenKey(jwk), last(jwk)));
        }
      }
      authorities.put(each.getKey(), roots);
      tokenKeys.put(each.getKey(), keys);
    }
  }

  List<Authority> authorities(String trustDomain) {
    return authorities.getOrDefault(trustDomain, List.of());
  }

  TokenKey tokenKey(String trustDomain, Object kid) {
    return tokenKeys.getOrDefault(trustDomain, Map.of()).get(kid);
  }

  static X509Certificate certificate(byte[] der) throws CertificateException {
    ByteArrayInputStream in = new ByteArrayInputStream(der);
    X509Certificate read =
        (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(in);
    if (in.available() > 0) {
      throw new CertificateException("something follows the certificate");
    }
    return read;
  }

  private static long last(Map<String, Object> jwk) {
    return jwk.get("troth_retired_at") instanceof BigDecimal retired
        ? retired.longValueExact() + TOLERANCE
        : Long.MAX_VALUE;
  }

  private static PublicKey tokenKey(Map<String, Object> jwk) throws GeneralSecurityException {
    AlgorithmParameters curve = AlgorithmParameters.getInstance("EC");
    curve.init(new ECGenParameterSpec("secp256r1"));
    ECPoint point = new ECPoint(coordinate(jwk.get("x")), coordinate(jwk.get("y")));
    ECParameterSpec parameters = curve.getParameterSpec(ECParameterSpec.class);
    return KeyFactory.getInstance("EC").generatePublic(new ECPublicKeySpec(point, parameters));
  }

  private static BigInteger coordinate(Object text) {
    return new BigInteger(1, Base64.getUrlDecoder().decode((String) text));
  }
}
