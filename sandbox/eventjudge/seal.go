package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/big"
	"regexp"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

const payloadType = "https://cloudevents.io/verifiability/dsse/v0.1"

var (
	core     = []string{"id", "source", "specversion", "type", "datacontenttype", "dataschema", "subject", "time"}
	signed   = []string{"trothpolicy", "trothbroker", "trothtopic", "trothenvironment", "authtype", "authid", "trothtenant", "trothtxn", "trothtxntoken", "trothchain"}
	envelope = regexp.MustCompile(`^\{"payload":"([A-Za-z0-9+/=]+)","payloadType":"` +
		regexp.QuoteMeta(payloadType) +
		`","signatures":\[\{"keyid":"([A-Za-z0-9_-]{43})","sig":"([A-Za-z0-9+/=]+)"\}\]\}$`)
)

// readSeal reads an envelope in its one form.
func readSeal(material string) (*dsse.Envelope, *rejection) {
	text, ok := exactly(base64.StdEncoding, material)
	if !ok {
		return nil, reject("Malformed", "the seal is no base64")
	}
	parts := envelope.FindSubmatch(text)
	if parts == nil {
		return nil, reject("Malformed", "the seal has another form")
	}
	for _, each := range [][]byte{parts[1], parts[3]} {
		if _, ok := exactly(base64.StdEncoding, string(each)); !ok {
			return nil, reject("Malformed", "a part of the seal is no base64")
		}
	}
	return &dsse.Envelope{
		PayloadType: payloadType,
		Payload:     string(parts[1]),
		Signatures:  []dsse.Signature{{KeyID: string(parts[2]), Sig: string(parts[3])}},
	}, nil
}

// payloadOf returns the payload for a message.
func payloadOf(attributes map[string]string, data []byte) []byte {
	var first, second []byte
	add := func(to []byte, value []byte) []byte {
		digest := sha256.Sum256(value)
		return append(to, digest[:]...)
	}
	for _, name := range core {
		first = add(first, []byte(attributes[name]))
	}
	first = add(first, data)
	for _, name := range signed {
		second = add(second, []byte(attributes[name]))
	}
	digests := [2][32]byte{sha256.Sum256(first), sha256.Sum256(second)}
	return []byte(`{"core":"` + base64.StdEncoding.EncodeToString(digests[0][:]) +
		`","ext":"` + base64.StdEncoding.EncodeToString(digests[1][:]) +
		`","signedextattrs":["` + strings.Join(signed, `","`) + `"]}`)
}

// leafKey verifies signatures with the key of a leaf.
type leafKey struct{ leaf *x509.Certificate }

func (k leafKey) KeyID() (string, error) {
	digest := sha256.Sum256(k.leaf.Raw)
	return base64.RawURLEncoding.EncodeToString(digest[:]), nil
}

func (k leafKey) Public() crypto.PublicKey { return k.leaf.PublicKey }

func (k leafKey) Verify(_ context.Context, text, signature []byte) error {
	valid := false
	switch key := k.leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		digest, known := digestOf(key.Curve, text)
		valid = known && lowS(key.Curve, signature) && ecdsa.VerifyASN1(key, digest, signature)
	case ed25519.PublicKey:
		valid = ed25519.Verify(key, text, signature)
	case *rsa.PublicKey:
		digest := sha256.Sum256(text)
		options := &rsa.PSSOptions{SaltLength: sha256.Size, Hash: crypto.SHA256}
		valid = rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, options) == nil
	}
	if !valid {
		return errors.New("the signature is not the leaf's")
	}
	return nil
}

func digestOf(curve elliptic.Curve, text []byte) ([]byte, bool) {
	switch curve {
	case elliptic.P256():
		digest := sha256.Sum256(text)
		return digest[:], true
	case elliptic.P384():
		digest := sha512.Sum384(text)
		return digest[:], true
	}
	return nil, false
}

func lowS(curve elliptic.Curve, signature []byte) bool {
	var numbers struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(signature, &numbers)
	half := new(big.Int).Rsh(curve.Params().N, 1)
	return err == nil && len(rest) == 0 && numbers.S.Cmp(half) <= 0
}

// verifySeal verifies the signature of an envelope with the key of a leaf.
func verifySeal(seal *dsse.Envelope, leaf *x509.Certificate) *rejection {
	verifier, err := dsse.NewEnvelopeVerifier(leafKey{leaf})
	if err == nil {
		_, err = verifier.Verify(context.Background(), seal)
	}
	if err != nil {
		return reject("SignatureInvalid", "%v", err)
	}
	return nil
}
