package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
)

const transactionType = "txntoken+jwt"

// jwtSVID verifies a token with go-spiffe, as any Go service would. go-spiffe
// checks neither the issuer nor the certificate.
func jwtSVID(q question) (answer, error) {
	bundles, err := bundleSet(q)
	if err != nil {
		return answer{}, err
	}
	svid, err := jwtsvid.ParseAndValidate(q.Token, bundles, []string{q.Audience})
	if err != nil {
		return answer{}, err
	}
	return answer{Says: svid.ID.String()}, nil
}

// transaction verifies a token with go-jose, because a transaction token is no
// JWT-SVID: its key comes from the single trust domain, and its subject may be
// a person.
func transaction(q question) (answer, error) {
	bundle, err := bundleOf(q)
	if err != nil {
		return answer{}, err
	}
	return signed(q, func(id string) (any, bool) {
		return bundle.FindJWTAuthority(id)
	})
}

// webhook verifies a gateway's token with go-jose and the key set (RFC 7517)
// that is mounted beside the target's certificate.
func webhook(q question) (answer, error) {
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(q.KeySet, &keys); err != nil {
		return answer{}, err
	}
	return signed(q, func(id string) (any, bool) {
		found := keys.Key(id)
		if len(found) != 1 {
			return nil, false
		}
		return found[0], true
	})
}

// signed verifies a transaction token, or a gateway's token of the same form,
// and returns its subject.
func signed(q question, find func(string) (any, bool)) (answer, error) {
	token, err := jwt.ParseSigned(q.Token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return answer{}, err
	}
	header := token.Headers[0]
	if header.ExtraHeaders[jose.HeaderType] != transactionType {
		return answer{}, errors.New("it is not of the type " + transactionType)
	}
	key, known := find(header.KeyID)
	if !known {
		return answer{}, fmt.Errorf("there is no key %q", header.KeyID)
	}
	var claims jwt.Claims
	var more struct {
		Transaction string `json:"txn"`
		Requester   string `json:"req_wl"`
	}
	if err := token.Claims(key, &claims, &more); err != nil {
		return answer{}, err
	}
	// Validate accepts a token without these claims as never expiring.
	if claims.Expiry == nil || claims.IssuedAt == nil {
		return answer{}, errors.New("it lacks exp or iat")
	}
	if claims.Subject == "" || more.Transaction == "" || more.Requester == "" {
		return answer{}, errors.New("it lacks sub, txn or req_wl")
	}
	expected := jwt.Expected{Issuer: q.Issuer, AnyAudience: []string{q.Audience}, Time: time.Now()}
	if err := claims.Validate(expected); err != nil {
		return answer{}, err
	}
	return answer{Says: claims.Subject}, nil
}

// bundle returns the content of a SPIFFE bundle, and go-spiffe's encoding of it.
func bundle(q question) (answer, error) {
	read, err := bundleOf(q)
	if err != nil {
		return answer{}, err
	}
	written, err := read.Marshal()
	if err != nil {
		return answer{}, err
	}
	found := answer{Says: read.TrustDomain().String(), Bundle: written, JWT: keyIDs(read.JWTBundle())}
	for _, authority := range read.X509Authorities() {
		digest := sha256.Sum256(authority.Raw)
		found.X509 = append(found.X509, hex.EncodeToString(digest[:]))
	}
	return found, nil
}

// jwks returns the content of the issuer's key set for a client that reads only
// the key set.
func jwks(q question) (answer, error) {
	name, err := spiffeid.TrustDomainFromString(q.TrustDomain)
	if err != nil {
		return answer{}, err
	}
	read, err := jwtbundle.Parse(name, q.Bundles[q.TrustDomain])
	if err != nil {
		return answer{}, err
	}
	return answer{Says: name.String(), JWT: keyIDs(read)}, nil
}

func keyIDs(bundle *jwtbundle.Bundle) []string {
	var found []string
	for id := range bundle.JWTAuthorities() {
		found = append(found, id)
	}
	slices.Sort(found)
	return found
}

func bundleSet(q question) (*spiffebundle.Set, error) {
	set := spiffebundle.NewSet()
	for name, document := range q.Bundles {
		domain, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return nil, err
		}
		bundle, err := spiffebundle.Parse(domain, document)
		if err != nil {
			return nil, err
		}
		set.Add(bundle)
	}
	return set, nil
}

func bundleOf(q question) (*spiffebundle.Bundle, error) {
	set, err := bundleSet(q)
	if err != nil {
		return nil, err
	}
	name, err := spiffeid.TrustDomainFromString(q.TrustDomain)
	if err != nil {
		return nil, err
	}
	return set.GetBundleForTrustDomain(name)
}
