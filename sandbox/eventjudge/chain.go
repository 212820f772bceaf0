package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

const mostCertificates = 5

// certificates returns the certificates of a chain in DER.
func certificates(value string) ([][]byte, bool) {
	var chain [][]byte
	for part := range strings.SplitSeq(value, ".") {
		der, ok := exactly(base64.StdEncoding, part)
		if !ok {
			return nil, false
		}
		chain = append(chain, der)
	}
	return chain, len(chain) <= mostCertificates
}

// verifyChain returns the SPIFFE ID of a chain that was valid at a time.
func verifyChain(value string, bundles *spiffebundle.Set, ended retirements, at float64) (
	spiffeid.ID, *x509.Certificate, *rejection,
) {
	ders, ok := certificates(value)
	if !ok {
		return refuse("it is not 1 to %d certificates", mostCertificates)
	}
	var chain []*x509.Certificate
	for _, der := range ders {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			return refuse("%v", err)
		}
		chain = append(chain, one)
	}
	moment := time.Unix(int64(at), 0)
	id, _, err := x509svid.Verify(chain, bundles, x509svid.WithTime(moment))
	if err != nil {
		return refuse("%v", err)
	}
	bundle, err := bundles.GetX509BundleForTrustDomain(id.TrustDomain())
	if err != nil {
		return refuse("%v", err)
	}
	leaf := chain[0]
	if id.Path() == "" || !isSupported(leaf.PublicKey) {
		return refuse("the leaf names no workload, or has a key of another kind")
	}
	if leaf.SubjectKeyId == nil || leaf.AuthorityKeyId == nil {
		return refuse("the leaf has no key identifiers")
	}
	// go-spiffe ignores certificates that it does not need, and their order.
	chain = slices.DeleteFunc(chain, func(one *x509.Certificate) bool {
		return one != leaf && bundle.HasX509Authority(one)
	})
	for i, one := range chain {
		if !validAt(one, moment) || i > 0 && !allowsPeers(one) {
			return refuse("certificate %d is not valid then, or limits its purposes", i)
		}
		if i+1 < len(chain) && !issued(chain[i+1], one) {
			return refuse("certificate %d is not the issuer of its predecessor", i+1)
		}
	}
	for _, authority := range bundle.X509Authorities() {
		path := append(slices.Clone(chain), authority)
		if issued(authority, chain[len(chain)-1]) && validAt(authority, moment) &&
			allowsPeers(authority) && path[1].SubjectKeyId != nil &&
			ended.allow(id.TrustDomain(), string(authority.Raw), at) {
			return id, leaf, nil
		}
	}
	return refuse("no authority issued the last certificate, or it was not valid then, or retired")
}

func refuse(format string, values ...any) (spiffeid.ID, *x509.Certificate, *rejection) {
	return spiffeid.ID{}, nil, reject("CertificateInvalid", format, values...)
}

func isSupported(key any) bool {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256() || key.Curve == elliptic.P384()
	case *rsa.PublicKey:
		return slices.Contains([]int{2048, 3072, 4096}, key.N.BitLen())
	case ed25519.PublicKey:
		return true
	}
	return false
}

// allowsPeers returns whether an authority may issue for both ends of a connection.
func allowsPeers(one *x509.Certificate) bool {
	unlimited := len(one.ExtKeyUsage)+len(one.UnknownExtKeyUsage) == 0
	return unlimited || slices.Contains(one.ExtKeyUsage, x509.ExtKeyUsageServerAuth) &&
		slices.Contains(one.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
}

func issued(issuer, subject *x509.Certificate) bool {
	return bytes.Equal(issuer.RawSubject, subject.RawIssuer) &&
		subject.CheckSignatureFrom(issuer) == nil
}

func validAt(one *x509.Certificate, moment time.Time) bool {
	return !moment.Before(one.NotBefore) && moment.Before(one.NotAfter)
}
