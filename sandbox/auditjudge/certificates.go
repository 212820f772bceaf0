package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"strings"
	"time"
)

// bundles are the roots of each trust domain.
type bundles map[string][]root

type root struct {
	certificate *x509.Certificate
	retired     time.Time
}

const tolerance = 300 * time.Second

func readBundles(path string) (bundles, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var document struct {
		TrustDomains map[string]struct {
			Keys []struct {
				Use     string   `json:"use"`
				X5C     [][]byte `json:"x5c"`
				Retired int64    `json:"troth_retired_at"`
			} `json:"keys"`
		} `json:"trust_domains"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	found := bundles{}
	for domain, bundle := range document.TrustDomains {
		for _, key := range bundle.Keys {
			if key.Use != "x509-svid" {
				continue
			}
			certificate, err := x509.ParseCertificate(key.X5C[0])
			if err != nil {
				return nil, err
			}
			each := root{certificate: certificate}
			if key.Retired != 0 {
				each.retired = time.Unix(key.Retired, 0)
			}
			found[domain] = append(found[domain], each)
		}
	}
	return found, nil
}

// leafOf returns the leaf of a chain if it is the worker's and was valid at a time.
func (b bundles) leafOf(chain, worker string, at time.Time) (*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for each := range strings.SplitSeq(chain, ".") {
		der, err := base64.StdEncoding.Strict().DecodeString(each)
		if err != nil {
			return nil, err
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		certificates = append(certificates, certificate)
	}
	leaf := certificates[0]
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != worker {
		return nil, errors.New("the leaf is not the worker's")
	}
	domain, err := url.Parse(worker)
	if err != nil {
		return nil, err
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, each := range b[domain.Host] {
		if each.retired.IsZero() || !at.After(each.retired.Add(tolerance)) {
			roots.AddCert(each.certificate)
		}
	}
	for _, each := range certificates[1:] {
		intermediates.AddCert(each)
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return leaf, err
}

// verify verifies a signature by the key of a leaf.
func verify(leaf *x509.Certificate, signed, signature []byte) error {
	valid := false
	switch key := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P384() {
			digest := sha512.Sum384(signed)
			valid = ecdsa.VerifyASN1(key, digest[:], signature)
		} else {
			digest := sha256.Sum256(signed)
			valid = ecdsa.VerifyASN1(key, digest[:], signature)
		}
	case ed25519.PublicKey:
		valid = ed25519.Verify(key, signed, signature)
	case *rsa.PublicKey:
		digest := sha256.Sum256(signed)
		options := &rsa.PSSOptions{SaltLength: sha256.Size, Hash: crypto.SHA256}
		valid = rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, options) == nil
	}
	if !valid {
		return errors.New("the signature is not the leaf's")
	}
	return nil
}
