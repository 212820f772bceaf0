import java.io.File;
import java.io.FileInputStream;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

/**
 * Prints the verdicts of the JDK's trust manager, as a TLS server has it, on clients' chains.
 *
 * <p>Usage: java TrustManagerJudge.java STORE CHAIN.pem [STORE CHAIN.pem]... For each pair it
 * prints a line, "ok" or "refused: why". STORE is a PEM file with roots, or a PKCS #12 truststore
 * with its password in STORE.password, or a directory. In a directory, the roots for a chain are in
 * the file named after the trust domain of its SPIFFE ID, with ".pem": this is how a program
 * federates.
 */
public final class TrustManagerJudge {
  private static final int URI = 6;

  public static void main(String[] files) throws Exception {
    for (int pair = 0; pair < files.length; pair += 2) {
      System.out.println(verdict(new File(files[pair]), certificates(new File(files[pair + 1]))));
    }
  }

  private static String verdict(File store, List<X509Certificate> chain) throws Exception {
    File roots = store.isDirectory() ? new File(store, trustDomain(chain.get(0)) + ".pem") : store;
    TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
    factory.init(opened(roots));
    try {
      for (TrustManager each : factory.getTrustManagers()) {
        ((X509TrustManager) each).checkClientTrusted(chain.toArray(new X509Certificate[0]), "EC");
      }
      return "ok";
    } catch (CertificateException refused) {
      return "refused: " + refused.getMessage();
    }
  }

  private static String trustDomain(X509Certificate leaf) throws Exception {
    for (List<?> name : leaf.getSubjectAlternativeNames()) {
      if (name.get(0).equals(URI)) {
        return java.net.URI.create((String) name.get(1)).getHost();
      }
    }
    throw new IllegalArgumentException("no SPIFFE ID");
  }

  private static KeyStore opened(File store) throws Exception {
    if (store.getName().endsWith(".p12")) {
      String password = Files.readString(Path.of(store + ".password"));
      return KeyStore.getInstance(store, password.toCharArray());
    }
    KeyStore made = KeyStore.getInstance("PKCS12");
    made.load(null, null);
    for (X509Certificate root : certificates(store)) {
      made.setCertificateEntry("root" + made.size(), root);
    }
    return made;
  }

  private static List<X509Certificate> certificates(File file) throws Exception {
    List<X509Certificate> found = new ArrayList<>();
    try (InputStream in = new FileInputStream(file)) {
      CertificateFactory.getInstance("X.509")
          .generateCertificates(in)
          .forEach(each -> found.add((X509Certificate) each));
    }
    return found;
  }

  private TrustManagerJudge() {}
}
