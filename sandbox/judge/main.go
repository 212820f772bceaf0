// Command svid-judge verifies an X.509-SVID with go-spiffe, the SPIFFE
// project's own library. Troth's tests and its sandbox use it, so that the PKI
// is verified independently of the code that issued it.
//
//	svid-judge verify --svid FILE --bundle FILE --trust-domain NAME [--key FILE] [--time RFC3339]
//
// It prints one line of JSON, {"ok":…,"id":…,"error":…}, and exits with 0 if
// the SVID is valid, 1 if it is not, and 2 for a usage error.
package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

type verdict struct {
	OK    bool   `json:"ok"`
	ID    string `json:"id"`
	Error string `json:"error"`
}

type question struct {
	svid, key, bundle, trustDomain string
	at                             time.Time
}

func main() {
	q, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "svid-judge:", err)
		os.Exit(2)
	}
	v := verdict{}
	id, err := judge(q)
	if err != nil {
		v.Error = err.Error()
	} else {
		v.OK, v.ID = true, id
	}
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil || !v.OK {
		os.Exit(1)
	}
}

func parse(args []string) (question, error) {
	q := question{at: time.Now()}
	if len(args) == 0 || args[0] != "verify" {
		return q, errors.New("the one command is: verify")
	}
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	flags.StringVar(&q.svid, "svid", "", "PEM file: the leaf, then its chain")
	flags.StringVar(&q.key, "key", "", "PEM file: the leaf's private key, checked against the leaf when given")
	flags.StringVar(&q.bundle, "bundle", "", "PEM file: the trust domain's anchors")
	flags.StringVar(&q.trustDomain, "trust-domain", "", "the trust domain the bundle speaks for")
	at := flags.String("time", "", "verify at this moment (RFC 3339) instead of now")
	if err := flags.Parse(args[1:]); err != nil {
		return q, err
	}
	if q.svid == "" || q.bundle == "" || q.trustDomain == "" || flags.NArg() > 0 {
		return q, errors.New("verify needs --svid, --bundle and --trust-domain, and nothing else but --key and --time")
	}
	if *at != "" {
		moment, err := time.Parse(time.RFC3339, *at)
		if err != nil {
			return q, err
		}
		q.at = moment
	}
	return q, nil
}

// judge returns the SPIFFE ID of a valid SVID.
func judge(q question) (string, error) {
	trustDomain, err := spiffeid.TrustDomainFromString(q.trustDomain)
	if err != nil {
		return "", err
	}
	bundle, err := x509bundle.Load(trustDomain, q.bundle)
	if err != nil {
		return "", err
	}
	chain, err := certificates(q)
	if err != nil {
		return "", err
	}
	id, _, err := x509svid.Verify(chain, bundle, x509svid.WithTime(q.at))
	if err != nil {
		return "", err
	}
	return id.String(), nil
}

// certificates reads the chain. x509svid.Parse requires a private key, which a
// verifier does not have, so without --key only the PEM file is read.
func certificates(q question) ([]*x509.Certificate, error) {
	if q.key != "" {
		svid, err := x509svid.Load(q.svid, q.key)
		if err != nil {
			return nil, err
		}
		return svid.Certificates, nil
	}
	rest, err := os.ReadFile(q.svid)
	if err != nil {
		return nil, err
	}
	var der []byte
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return x509.ParseCertificates(der)
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s in the SVID file, where only certificates belong", block.Type)
		}
		der = append(der, block.Bytes...)
	}
}
