import java.io.ByteArrayOutputStream;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.PublicKey;
import java.security.Signature;
import java.security.cert.X509Certificate;
import java.security.interfaces.ECPublicKey;
import java.security.interfaces.EdECPublicKey;
import java.security.interfaces.RSAPublicKey;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The section "Seal": an envelope, and the payload that it must have. */
record Seal(byte[] payload, String keyId, byte[] signature) {
  private static final String PAYLOAD_TYPE = "https://cloudevents.io/verifiability/dsse/v0.1";
  private static final List<String> CORE =
      List.of(
          "id", "source", "specversion", "type", "datacontenttype", "dataschema", "subject", "time");
  private static final List<String> EXTENSIONS =
      List.of(
          "trothpolicy", "trothbroker", "trothtopic", "trothenvironment", "authtype", "authid",
          "trothtenant", "trothtxn", "trothtxntoken", "trothchain");

  /** The attributes that a seal covers. */
  static final Set<String> COVERED =
      Stream.concat(CORE.stream(), EXTENSIONS.stream()).collect(Collectors.toUnmodifiableSet());

  private static final Pattern ENVELOPE =
      Pattern.compile(
          "\\{\"payload\":\"([A-Za-z0-9+/=]+)\",\"payloadType\":\""
              + Pattern.quote(PAYLOAD_TYPE)
              + "\",\"signatures\":\\[\\{\"keyid\":\"([A-Za-z0-9_-]{43})\","
              + "\"sig\":\"([A-Za-z0-9+/=]+)\"}]}");

  static Seal read(String material) throws Rejected {
    Optional<byte[]> envelope = Encodings.base64(material);
    Rejected.unless(envelope.isPresent(), "Malformed", "the seal is no base64");
    Matcher parts =
        ENVELOPE.matcher(new String(envelope.get(), StandardCharsets.ISO_8859_1));
    Rejected.unless(parts.matches(), "Malformed", "the seal has another form");
    Optional<byte[]> payload = Encodings.base64(parts.group(1));
    Optional<byte[]> signature = Encodings.base64(parts.group(3));
    boolean encoded = payload.isPresent() && signature.isPresent();
    Rejected.unless(encoded, "Malformed", "a part of the seal is no base64");
    return new Seal(payload.get(), parts.group(2), signature.get());
  }

  static byte[] payload(Map<String, String> attributes, byte[] data) {
    String core = digest(CORE, attributes, data);
    String extensions = digest(EXTENSIONS, attributes, null);
    String names = String.join("\",\"", EXTENSIONS);
    String text =
        "{\"core\":\"%s\",\"ext\":\"%s\",\"signedextattrs\":[\"%s\"]}"
            .formatted(core, extensions, names);
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  private static String digest(List<String> names, Map<String, String> attributes, byte[] data) {
    ByteArrayOutputStream digests = new ByteArrayOutputStream();
    for (String name : names) {
      byte[] value = attributes.getOrDefault(name, "").getBytes(StandardCharsets.UTF_8);
      digests.writeBytes(Encodings.sha256(value));
    }
    if (data != null) {
      digests.writeBytes(Encodings.sha256(data));
    }
    return Encodings.STANDARD.encodeToString(Encodings.sha256(digests.toByteArray()));
  }

  void verify(X509Certificate leaf) throws Rejected, GeneralSecurityException {
    String expected = Encodings.URL.encodeToString(Encodings.sha256(leaf.getEncoded()));
    Rejected.unless(keyId.equals(expected), "SignatureInvalid", "keyid is not the leaf's");
    boolean valid;
    try {
      valid = isSignedBy(leaf.getPublicKey());
    } catch (GeneralSecurityException fault) {
      valid = false;
    }
    Rejected.unless(valid, "SignatureInvalid", "the signature is not the leaf's");
  }

  /** Returns whether the format has an algorithm for a key. */
  static boolean isSupported(PublicKey key) {
    if (key instanceof ECPublicKey curve) {
      return Set.of(256, 384).contains(curve.getParams().getOrder().bitLength());
    } else if (key instanceof RSAPublicKey rsa) {
      return Set.of(2048, 3072, 4096).contains(rsa.getModulus().bitLength());
    }
    return key instanceof EdECPublicKey edwards && edwards.getParams().getName().equals("Ed25519");
  }

  private boolean isSignedBy(PublicKey key) throws GeneralSecurityException {
    Signature verifier;
    if (key instanceof ECPublicKey curve) {
      BigInteger order = curve.getParams().getOrder();
      if (!isLowAndDer(order)) {
        return false;
      }
      verifier = Signature.getInstance("SHA%dwithECDSA".formatted(order.bitLength()));
    } else if (key instanceof EdECPublicKey) {
      verifier = Signature.getInstance("Ed25519");
    } else {
      verifier = Signature.getInstance("RSASSA-PSS");
      verifier.setParameter(
          new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1));
    }
    verifier.initVerify(key);
    verifier.update(("DSSEv1 46 " + PAYLOAD_TYPE + " " + payload.length + " ").getBytes());
    verifier.update(payload);
    return verifier.verify(signature);
  }

  /** Returns whether the signature is the DER of two positive numbers, the second a low one. */
  private boolean isLowAndDer(BigInteger order) {
    int[] at = {2};
    int header = signature.length >= 2 && signature[0] == 0x30 ? signature[1] : -1;
    if (header != signature.length - 2) {
      return false; // two numbers of at most 48 bytes never need a long length
    }
    Optional<BigInteger> r = integer(at);
    Optional<BigInteger> s = r.isPresent() ? integer(at) : Optional.empty();
    return s.isPresent()
        && at[0] == signature.length
        && s.get().compareTo(order.shiftRight(1)) <= 0;
  }

  private Optional<BigInteger> integer(int[] at) {
    int start = at[0] + 2;
    if (start > signature.length || signature[at[0]] != 2) {
      return Optional.empty();
    }
    int length = signature[at[0] + 1];
    if (length < 1 || start + length > signature.length) {
      return Optional.empty();
    }
    at[0] = start + length;
    BigInteger value = new BigInteger(signature, start, length);
    boolean shortest = value.signum() > 0 && value.toByteArray().length == length;
    return Optional.of(value).filter(each -> shortest);
  }
}
