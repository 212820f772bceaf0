package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// vectors is the file: what all vectors share, and the vectors.
type vectors struct {
	Identity identity        `json:"identity"`
	Bundles  json.RawMessage `json:"bundles"`
	Entry    any             `json:"entry"`
	Now      float64         `json:"now"`
	Vectors  []vector        `json:"vectors"`
}

type identity struct {
	SPIFFEID string            `json:"spiffeID"`
	Issuers  map[string]string `json:"issuers"`
}

type vector struct {
	Name         string          `json:"name"`
	Binding      string          `json:"binding"`
	Topic        string          `json:"topic"`
	Headers      []header        `json:"headers"`
	OtherHeaders int             `json:"otherHeaders"`
	Data         *octets         `json:"data"`
	StoredAt     *float64        `json:"storedAt"`
	Entry        json.RawMessage `json:"entry"`
	Bundles      json.RawMessage `json:"bundles"`
	Now          *float64        `json:"now"`
}

type header struct {
	name  string
	value []byte
}

func (h *header) UnmarshalJSON(text []byte) error {
	var value *octets
	if err := json.Unmarshal(text, &[]any{&h.name, &value}); err != nil {
		return err
	}
	if value != nil {
		h.value = *value
	}
	return nil
}

// octets are bytes: a text in UTF-8, base64, or a text that is repeated.
type octets []byte

func (o *octets) UnmarshalJSON(text []byte) error {
	var plain string
	if json.Unmarshal(text, &plain) == nil {
		*o = octets(plain)
		return nil
	}
	var rule struct {
		Base64 []byte `json:"base64"`
		Repeat string `json:"repeat"`
		Times  int    `json:"times"`
	}
	if err := json.Unmarshal(text, &rule); err != nil {
		return err
	}
	*o = append(octets(rule.Base64), strings.Repeat(rule.Repeat, rule.Times)...)
	return nil
}

// entry is the entry of identity.json for one policy.
type entry struct {
	Policy      string `json:"policy"`
	Action      string `json:"action"`
	Broker      string `json:"broker"`
	Topic       string `json:"topic"`
	Prefix      string `json:"prefix"`
	Environment string `json:"environment"`
	Context     struct {
		Require  []string `json:"require"`
		Evidence string   `json:"evidence"`
		MaxAge   *float64 `json:"maxAge"`
	} `json:"context"`
	Schemas     []schema  `json:"schemas"`
	SchemaFault string    `json:"schemaFault"`
	Tenants     *[]string `json:"tenants"`
	Producers   []string  `json:"producers"`
}

type schema struct {
	Type   string `json:"type"`
	Digest string `json:"digest"`
	Text   string `json:"text"`
}

// message is what a broker delivers.
type message struct {
	binding, topic string
	headers        []header
	data           []byte
	tombstone      bool
	storedAt       *float64
}

// question returns what a vector asks: a verifier, and the message.
func (f vectors) question(v vector) (*verifier, message, error) {
	m := message{binding: v.Binding, topic: v.Topic, headers: v.Headers, storedAt: v.StoredAt}
	for i := range v.OtherHeaders {
		m.headers = append(m.headers, header{fmt.Sprintf("x-%d", i), []byte("x")})
	}
	if v.Data == nil {
		m.tombstone = true
	} else {
		m.data = *v.Data
	}
	found, err := f.entryOf(v)
	if err != nil {
		return nil, m, err
	}
	text := f.Bundles
	if v.Bundles != nil {
		text = v.Bundles
	}
	set, err := bundleSet(text)
	if err != nil {
		return nil, m, err
	}
	ended, err := retirementsIn(text)
	if err != nil {
		return nil, m, err
	}
	now := f.Now
	if v.Now != nil {
		now = *v.Now
	}
	return &verifier{
		identity: f.Identity, bundles: set, ended: ended, entry: found, now: now, limit: 1 << 20,
	}, m, nil
}

func (f vectors) entryOf(v vector) (*entry, error) {
	if string(v.Entry) == "null" {
		return nil, nil
	}
	changed := f.Entry
	if v.Entry != nil {
		var patch any
		if err := json.Unmarshal(v.Entry, &patch); err != nil {
			return nil, err
		}
		changed = merge(changed, patch)
	}
	text, err := json.Marshal(changed)
	if err != nil {
		return nil, err
	}
	found := &entry{}
	return found, json.Unmarshal(text, found)
}

// merge applies a JSON merge patch (RFC 7396).
func merge(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	merged := map[string]any{}
	if members, ok := target.(map[string]any); ok {
		for name, value := range members {
			merged[name] = value
		}
	}
	for name, value := range changes {
		if value == nil {
			delete(merged, name)
		} else {
			merged[name] = merge(merged[name], value)
		}
	}
	return merged
}

func bundleSet(text json.RawMessage) (*spiffebundle.Set, error) {
	var document struct {
		TrustDomains map[string]json.RawMessage `json:"trust_domains"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	if document.TrustDomains == nil {
		return nil, errors.New("the bundle map has no trust_domains")
	}
	set := spiffebundle.NewSet()
	for name, bundle := range document.TrustDomains {
		domain, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return nil, err
		}
		read, err := spiffebundle.Parse(domain, bundle)
		if err != nil {
			return nil, err
		}
		set.Add(read)
	}
	return set, nil
}

// exactly decodes base64 in its one canonical spelling.
func exactly(encoding *base64.Encoding, text string) ([]byte, bool) {
	// DecodeString ignores line breaks, and trailing bits unless strict.
	decoded, err := encoding.DecodeString(text)
	return decoded, err == nil && encoding.EncodeToString(decoded) == text
}
