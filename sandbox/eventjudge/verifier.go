package main

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
)

const (
	tolerance     = 300
	defaultMaxAge = 7 * 24 * 3600
)

// verifier is what a consumer knows.
type verifier struct {
	identity identity
	bundles  *spiffebundle.Set
	ended    retirements
	entry    *entry
	now      float64
	limit    int
}

// open makes the checks of the page's section Verification in their order.
func (v *verifier) open(m message) (map[string]string, *rejection) {
	if v.entry == nil || v.entry.Action != "Consume" {
		return nil, reject("NotGranted", "there is no entry with the action Consume")
	}
	found, r := attributes(m)
	if r == nil {
		r = v.checkData(m)
	}
	if r != nil {
		return nil, r
	}
	material, present := found["dssematerial"]
	if !present {
		return nil, reject("Unsigned", "there is no dssematerial")
	}
	if r := formOf(found); r != nil {
		return nil, r
	}
	at, _ := seconds(found["time"])
	for _, check := range []func() *rejection{
		func() *rejection { return v.checkSeal(material, found, m.data, at) },
		func() *rejection { return v.checkPlace(found, m.topic) },
		func() *rejection { return v.checkTimes(at, m.storedAt) },
		func() *rejection { return v.checkContext(found, at) },
		func() *rejection { return v.checkSchema(found, m.data) },
	} {
		if r := check(); r != nil {
			return nil, r
		}
	}
	return found, nil
}

func (v *verifier) checkData(m message) *rejection {
	if m.tombstone {
		return reject("Malformed", "there is no data")
	}
	if len(m.data) > v.limit {
		return reject("TooLarge", "%d bytes of data", len(m.data))
	}
	return nil
}

// checkSeal makes checks 3 to 6: envelope, chain, signature, producer.
func (v *verifier) checkSeal(
	material string, found map[string]string, data []byte, at float64,
) *rejection {
	seal, r := readSeal(material)
	if r != nil {
		return r
	}
	if seal.Payload != base64.StdEncoding.EncodeToString(payloadOf(found, data)) {
		return reject("SignatureInvalid", "the payload is another message's")
	}
	id, leaf, r := verifyChain(found["trothchain"], v.bundles, v.ended, at)
	if r != nil {
		return r
	}
	if found["source"] != id.String() {
		return reject("SignatureInvalid", "source is not the leaf's SPIFFE ID")
	}
	if r := verifySeal(seal, leaf); r != nil {
		return r
	}
	if !slices.Contains(v.entry.Producers, id.String()) {
		return reject("ProducerNotGranted", "%s may not publish", id)
	}
	return nil
}

// checkPlace makes checks 7 to 9: policy, environment, topic.
func (v *verifier) checkPlace(found map[string]string, delivered string) *rejection {
	if found["trothpolicy"] != v.entry.Policy || found["trothbroker"] != v.entry.Broker {
		return reject("WrongPolicy", "it is for another policy or broker")
	}
	if found["trothenvironment"] != v.entry.Environment {
		return reject("WrongEnvironment", "it is for another environment")
	}
	topic := found["trothtopic"]
	allowed := topic == v.entry.Topic
	if v.entry.Prefix != "" {
		allowed = strings.HasPrefix(topic, v.entry.Prefix)
	}
	if topic != delivered || !allowed {
		return reject("WrongTopic", "it is for another topic")
	}
	return nil
}

// checkTimes makes check 10.
func (v *verifier) checkTimes(at float64, storedAt *float64) *rejection {
	maxAge := float64(defaultMaxAge)
	if v.entry.Context.MaxAge != nil {
		maxAge = *v.entry.Context.MaxAge
	}
	if v.now-at > maxAge {
		return reject("Expired", "it is %f s old", v.now-at)
	}
	if at-v.now > tolerance {
		return reject("NotYetValid", "it is %f s in the future", at-v.now)
	}
	if storedAt != nil && (*storedAt-at > tolerance || at-*storedAt > tolerance) {
		return reject("TimeMismatch", "it was stored %f s later", *storedAt-at)
	}
	return nil
}

// checkContext makes checks 11 to 13: context, transaction token, tenants.
func (v *verifier) checkContext(found map[string]string, at float64) *rejection {
	carriers := map[string]string{"Subject": "authid", "Tenant": "trothtenant", "RequestID": "trothtxn"}
	for _, item := range v.entry.Context.Require {
		carrier, carried := carriers[item]
		if _, present := found[carrier]; carried && !present {
			return reject("ContextMissing", "there is no %s", carrier)
		}
	}
	if v.entry.Context.Evidence == "TransactionToken" {
		if r := v.checkToken(found, at); r != nil {
			return r
		}
	}
	if v.entry.Tenants != nil {
		tenant, present := found["trothtenant"]
		if !present || !slices.Contains(*v.entry.Tenants, tenant) {
			return reject("TenantNotAccepted", "the tenant is another")
		}
	}
	return nil
}

// checkSchema makes check 14, for JSON Schema.
func (v *verifier) checkSchema(found map[string]string, data []byte) *rejection {
	if v.entry.SchemaFault != "" {
		return reject("SchemaUnavailable", "%s", v.entry.SchemaFault)
	}
	if len(v.entry.Schemas) == 0 {
		return nil
	}
	for _, each := range v.entry.Schemas {
		if found["dataschema"] != "ni:///sha-256;"+each.Digest+"?policy="+v.entry.Policy {
			continue
		}
		if err := satisfies(each.Text, data); err != nil {
			return reject("SchemaInvalid", "%v", err)
		}
		return nil
	}
	return reject("SchemaUnknown", "dataschema is %q", found["dataschema"])
}

func satisfies(text string, data []byte) error {
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("policy.json", document); err != nil {
		return err
	}
	compiled, err := compiler.Compile("policy.json")
	if err != nil {
		return err
	}
	value, err := readJSON(data, limits{levels: 64, values: 250_000, fractions: true})
	if err != nil {
		return err
	}
	return compiled.Validate(value)
}
