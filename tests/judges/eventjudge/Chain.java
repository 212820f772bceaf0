import java.security.GeneralSecurityException;
import java.security.cert.CertPathValidator;
import java.security.cert.CertificateFactory;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Date;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** The producer's certificates: an X509-SVID with the JDK's PKIX validator. */
final class Chain {
  private static final String SUBJECT_KEY = "2.5.29.14";
  private static final String AUTHORITY_KEY = "2.5.29.35";
  private static final Set<String> PEERS = Set.of("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2");
  private static final int URI = 6;
  private static final int KEY_CERT_SIGN = 5;
  private static final int CRL_SIGN = 6;

  final X509Certificate leaf;
  final String spiffeId;

  private final List<X509Certificate> certificates;

  private Chain(List<X509Certificate> certificates, String spiffeId) {
    this.certificates = certificates;
    this.leaf = certificates.get(0);
    this.spiffeId = spiffeId;
  }

  /** Returns a chain that was valid at a time, in seconds since 1970. */
  static Chain verified(String value, Bundles bundles, long at) throws Rejected {
    Optional<List<byte[]>> ders = certificates(value);
    require(ders.isPresent(), "the chain is not 1 to 5 certificates");
    try {
      List<X509Certificate> certificates = new ArrayList<>();
      for (byte[] der : ders.get()) {
        certificates.add(Bundles.certificate(der));
      }
      String spiffeId = spiffeId(certificates.get(0));
      List<Bundles.Authority> known = bundles.authorities(Forms.trustDomain(spiffeId));
      List<X509Certificate> skipped = known.stream().map(Bundles.Authority::certificate).toList();
      certificates.subList(1, certificates.size()).removeIf(skipped::contains);
      Chain chain = new Chain(certificates, spiffeId);
      List<X509Certificate> authorities =
          known.stream()
              .filter(each -> at <= each.last())
              .map(Bundles.Authority::certificate)
              .toList();
      chain.verify(authorities, new Date(at * 1000));
      return chain;
    } catch (GeneralSecurityException fault) {
      throw new Rejected("CertificateInvalid", fault.getMessage());
    }
  }

  private void verify(List<X509Certificate> authorities, Date at)
      throws GeneralSecurityException, Rejected {
    boolean[] usage = leaf.getKeyUsage();
    boolean isLeaf =
        leaf.getBasicConstraints() == -1
            && (usage == null || (!usage[KEY_CERT_SIGN] && !usage[CRL_SIGN]));
    require(isLeaf, "the first certificate is no leaf");
    boolean identified =
        leaf.getExtensionValue(SUBJECT_KEY) != null && leaf.getExtensionValue(AUTHORITY_KEY) != null;
    require(identified, "the leaf has no key identifiers");
    require(Seal.isSupported(leaf.getPublicKey()), "the leaf has a key of another kind");
    for (X509Certificate each : certificates) {
      require(isValid(each, at), "a certificate was not valid then");
      String algorithm = each.getSigAlgName();
      require(!algorithm.matches("(MD|SHA1).*"), "a signature is by " + algorithm);
    }
    for (X509Certificate authority : authorities) {
      if (isValid(authority, at) && mayIssue(authority) && leadsTo(authority, at)) {
        return;
      }
    }
    throw new Rejected("CertificateInvalid", "the chain leads to no authority");
  }

  /** Returns whether the authorities, the last one included, may issue for peers. */
  private boolean mayIssue(X509Certificate last) throws GeneralSecurityException {
    List<X509Certificate> above = new ArrayList<>(certificates.subList(1, certificates.size()));
    above.add(last);
    for (X509Certificate each : above) {
      List<String> purposes = each.getExtendedKeyUsage();
      if (purposes != null && !purposes.containsAll(PEERS)) {
        return false;
      }
    }
    return above.get(0).getExtensionValue(SUBJECT_KEY) != null;
  }

  private boolean leadsTo(X509Certificate authority, Date at) throws GeneralSecurityException {
    PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(authority, null)));
    parameters.setRevocationEnabled(false);
    parameters.setDate(at);
    try {
      CertPathValidator.getInstance("PKIX")
          .validate(
              CertificateFactory.getInstance("X.509").generateCertPath(certificates), parameters);
      return true;
    } catch (GeneralSecurityException fault) {
      return false;
    }
  }

  /** Returns the certificates of a chain in DER. */
  private static Optional<List<byte[]>> certificates(String value) {
    List<byte[]> chain = new ArrayList<>();
    for (String part : value.split("\\.", -1)) {
      Optional<byte[]> der = Encodings.base64(part);
      if (der.isEmpty()) {
        return Optional.empty();
      }
      chain.add(der.get());
    }
    return Optional.of(chain).filter(each -> each.size() <= 5);
  }

  private static String spiffeId(X509Certificate leaf) throws GeneralSecurityException, Rejected {
    Collection<List<?>> names = leaf.getSubjectAlternativeNames();
    List<String> uris = new ArrayList<>();
    for (List<?> name : names == null ? List.<List<?>>of() : names) {
      if (name.get(0).equals(URI)) {
        uris.add((String) name.get(1));
      }
    }
    require(uris.size() == 1 && Forms.isWorkload(uris.get(0)), "the leaf has no SPIFFE ID");
    return uris.get(0);
  }

  private static boolean isValid(X509Certificate one, Date at) {
    return !at.before(one.getNotBefore()) && at.before(one.getNotAfter());
  }

  private static void require(boolean holds, String detail) throws Rejected {
    Rejected.unless(holds, "CertificateInvalid", detail);
  }
}
