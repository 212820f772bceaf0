package main

import (
	"encoding/json"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// retirements are the times of retirement of a trust domain's keys, which go-spiffe does not read:
// of an authority by its certificate in DER, of a token key by its kid.
type retirements map[retired]int64

type retired struct {
	domain, key string
}

func retirementsIn(bundles json.RawMessage) (retirements, error) {
	var document struct {
		TrustDomains map[string]struct {
			Keys []struct {
				Use       string   `json:"use"`
				KeyID     string   `json:"kid"`
				Chain     [][]byte `json:"x5c"`
				RetiredAt *int64   `json:"troth_retired_at"`
			} `json:"keys"`
		} `json:"trust_domains"`
	}
	if err := json.Unmarshal(bundles, &document); err != nil {
		return nil, err
	}
	found := retirements{}
	for domain, bundle := range document.TrustDomains {
		for _, key := range bundle.Keys {
			if key.RetiredAt == nil {
				continue
			}
			name := key.KeyID
			if key.Use == "x509-svid" {
				name = string(key.Chain[0])
			}
			found[retired{domain, name}] = *key.RetiredAt
		}
	}
	return found, nil
}

// allow returns whether a key verifies an event of a time.
func (r retirements) allow(domain spiffeid.TrustDomain, key string, at float64) bool {
	end, ended := r[retired{domain.Name(), key}]
	return !ended || at <= float64(end+tolerance)
}
