import java.io.FileInputStream;
import java.io.InputStream;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateFactory;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * Prints the verdicts of the JDK's PKIX validator on certificate chains, each below one anchor.
 *
 * <p>Usage: java PathJudge.java ANCHOR.pem CHAIN.pem [ANCHOR.pem CHAIN.pem]... For each pair it
 * prints a line, "ok" or "refused: why".
 */
public final class PathJudge {
  public static void main(String[] files) throws Exception {
    for (int pair = 0; pair < files.length; pair += 2) {
      System.out.println(verdict(files[pair], files[pair + 1]));
    }
  }

  private static String verdict(String anchor, String chain) throws Exception {
    // Without name constraints: the JDK rejects an anchor's as a parameter, and does not read
    // them from the anchor's certificate either. It does enforce those of intermediates.
    TrustAnchor trusted = new TrustAnchor(certificates(anchor).get(0), null);
    PKIXParameters parameters = new PKIXParameters(Set.of(trusted));
    parameters.setRevocationEnabled(false);
    try {
      CertPathValidator.getInstance("PKIX")
          .validate(
              CertificateFactory.getInstance("X.509").generateCertPath(certificates(chain)),
              parameters);
      return "ok";
    } catch (CertPathValidatorException refused) {
      return "refused: " + refused.getMessage();
    }
  }

  private static List<X509Certificate> certificates(String file) throws Exception {
    List<X509Certificate> found = new ArrayList<>();
    try (InputStream in = new FileInputStream(file)) {
      CertificateFactory.getInstance("X.509")
          .generateCertificates(in)
          .forEach(each -> found.add((X509Certificate) each));
    }
    return found;
  }

  private PathJudge() {}
}
