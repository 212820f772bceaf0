package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	leeway         = 60
	mostLifetime   = 15 * 60
	mostRequesters = 8
	mostToken      = 8192
	mostClaims     = 4096 // members in 8 KiB
)

var (
	uuid   = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	scopes = regexp.MustCompile(`^([!#-\[\]-~]+( [!#-\[\]-~]+)*)?$`)
)

// transaction has the claims of a transaction token that an event must repeat.
type transaction struct {
	subject, id string
	tenant      string
	hasTenant   bool
}

// verifyToken verifies a transaction token as it was at a time.
func (v *verifier) verifyToken(text string, at float64) (transaction, error) {
	own, err := spiffeid.FromString(v.identity.SPIFFEID)
	if err != nil {
		return transaction{}, err
	}
	domain := own.TrustDomain()
	header, claims, err := partsOf(text)
	if err != nil {
		return transaction{}, err
	}
	names := slices.Sorted(maps.Keys(header))
	kid, _ := header["kid"].(string)
	if !slices.Equal(names, []string{"alg", "kid", "typ"}) || header["typ"] != "txntoken+jwt" {
		return transaction{}, errors.New("its header has other members or another typ")
	}
	if err := v.verifySignature(text, domain, kid); err != nil {
		return transaction{}, err
	}
	if !v.ended.allow(domain, kid, at) {
		return transaction{}, errors.New("its key was retired before")
	}
	issuer, known := v.identity.Issuers[domain.Name()]
	if !known || claims["iss"] != issuer || claims["aud"] != domain.Name() {
		return transaction{}, errors.New("it has another issuer or audience")
	}
	if err := checkTimes(claims, at); err != nil {
		return transaction{}, err
	}
	return read(claims, domain)
}

// partsOf returns the header and the claims of a JWS in compact form.
func partsOf(text string) (header, claims map[string]any, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || len(text) > mostToken {
		return nil, nil, errors.New("it has not three parts")
	}
	var read [2]map[string]any
	for i, part := range parts {
		decoded, canonical := exactly(base64.RawURLEncoding, part)
		if !canonical {
			return nil, nil, errors.New("a part is no base64url")
		}
		if i == 2 {
			break
		}
		value, err := readJSON(decoded, limits{levels: 8, values: mostClaims})
		if err != nil {
			return nil, nil, err
		}
		members, ok := value.(map[string]any)
		if !ok {
			return nil, nil, errors.New("a part is no object")
		}
		read[i] = members
	}
	return read[0], read[1], nil
}

// verifySignature verifies a token with go-jose.
func (v *verifier) verifySignature(text string, domain spiffeid.TrustDomain, kid string) error {
	bundle, err := v.bundles.GetJWTBundleForTrustDomain(domain)
	if err != nil {
		return err
	}
	key, known := bundle.FindJWTAuthority(kid)
	if !known {
		return errors.New("its key is unknown")
	}
	token, err := jose.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err
	}
	_, err = token.Verify(key)
	return err
}

func checkTimes(claims map[string]any, at float64) error {
	issued, first := number(claims["iat"])
	expires, second := number(claims["exp"])
	if !first || !second || expires <= issued || expires-issued > mostLifetime {
		return errors.New("it has no lifetime of 1 to 900 seconds")
	}
	begins := issued
	if value, present := claims["nbf"]; present {
		before, ok := number(value)
		if !ok {
			return errors.New("its nbf is no time")
		}
		begins = max(begins, before)
	}
	if at+leeway < begins || at-leeway >= expires {
		return errors.New("it was not valid then")
	}
	return nil
}

func number(value any) (float64, bool) {
	read, ok := value.(json.Number)
	if !ok {
		return 0, false
	}
	whole, err := read.Int64()
	return float64(whole), err == nil && whole >= 0
}

// read returns the claims that an event must repeat, if the others have their form.
func read(claims map[string]any, domain spiffeid.TrustDomain) (transaction, error) {
	subject, _ := claims["sub"].(string)
	id, _ := claims["txn"].(string)
	scope, scoped := claims["scope"].(string)
	requesters, _ := claims["req_wl"].(string)
	if !isText(subject) || !uuid.MatchString(id) || !scoped || !scopes.MatchString(scope) {
		return transaction{}, errors.New("it lacks sub, txn or scope")
	}
	workloads := strings.Split(requesters, ",")
	for _, each := range workloads {
		workload, err := spiffeid.FromString(each)
		if err != nil || workload.Path() == "" || workload.TrustDomain() != domain {
			return transaction{}, errors.New("another trust domain requested it")
		}
	}
	details, present := claims["tctx"].(map[string]any)
	request, requested := claims["rctx"]
	if len(workloads) > mostRequesters || !present || !areTexts(details) ||
		requested && !areTexts(request) {
		return transaction{}, errors.New("req_wl, tctx or rctx has another form")
	}
	found := transaction{subject: subject, id: id}
	found.tenant, found.hasTenant = details["tenant"].(string)
	return found, nil
}

func areTexts(value any) bool {
	members, ok := value.(map[string]any)
	if !ok {
		return false
	}
	for name, member := range members {
		text, _ := member.(string)
		if !isText(name) || !isText(text) {
			return false
		}
	}
	return true
}

// checkToken compares an event with its transaction token.
func (v *verifier) checkToken(attributes map[string]string, at float64) *rejection {
	found, err := v.verifyToken(attributes["trothtxntoken"], at)
	if err != nil {
		return reject("TransactionTokenInvalid", "%v", err)
	}
	tenant, present := attributes["trothtenant"]
	if found.subject != attributes["authid"] || found.id != attributes["trothtxn"] ||
		present != found.hasTenant || tenant != found.tenant {
		return reject("TransactionTokenInvalid", "it is for another context")
	}
	return nil
}
