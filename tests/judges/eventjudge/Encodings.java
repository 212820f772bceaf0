import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Base64;
import java.util.Optional;

/** Base64 in its one canonical spelling, and SHA-256. */
final class Encodings {
  static final Base64.Encoder STANDARD = Base64.getEncoder();
  static final Base64.Encoder URL = Base64.getUrlEncoder().withoutPadding();

  static Optional<byte[]> base64(String text) {
    return canonical(text, Base64.getDecoder(), STANDARD);
  }

  static Optional<byte[]> base64url(String text) {
    return canonical(text, Base64.getUrlDecoder(), URL);
  }

  private static Optional<byte[]> canonical(
      String text, Base64.Decoder decoder, Base64.Encoder encoder) {
    try {
      byte[] decoded = decoder.decode(text);
      // The decoder also accepts a text without padding, and any trailing bits.
      return Optional.of(decoded).filter(each -> encoder.encodeToString(each).equals(text));
    } catch (IllegalArgumentException fault) {
      return Optional.empty();
    }
  }

  static byte[] sha256(byte[] text) {
    try {
      return MessageDigest.getInstance("SHA-256").digest(text);
    } catch (NoSuchAlgorithmException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  private Encodings() {}
}
