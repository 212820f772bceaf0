// Command audit-judge verifies an audit log as docs/audit-log.md specifies it. It is
// an independent implementation: it shares no code with Troth's own verifier, and
// needs Go's standard library alone.
//
//	audit-judge BUNDLE-MAP SPIFFE-ID < lines
//
// It prints a line of JSON for each line of its input: the number of the entry, and
// what is wrong with it, empty if nothing is. Lines are in their order, each once.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

const payloadType = "application/vnd.troth.audit-entry.v1+json"

type entry struct {
	Log      string `json:"log"`
	Sequence int64  `json:"sequence"`
	Previous string `json:"previous"`
	Time     string `json:"time"`
	Worker   string `json:"worker"`
	Chain    string `json:"chain"`
	Decision string `json:"decision"`
}

type answer struct {
	Sequence int64  `json:"sequence"`
	Fault    string `json:"fault"`
}

// last is the entry before the one that is verified.
type last struct {
	log      string
	sequence int64
	hash     string
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: audit-judge BUNDLE-MAP SPIFFE-ID < lines")
		os.Exit(2)
	}
	if err := judgeAll(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "audit-judge:", err)
		os.Exit(2)
	}
}

func judgeAll(bundleMap, worker string) error {
	trusted, err := readBundles(bundleMap)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	var before last
	for in.Scan() {
		found, err := judge(in.Bytes(), worker, trusted, &before)
		said := answer{Sequence: found.Sequence}
		if err != nil {
			said.Fault = err.Error()
		}
		if err := out.Encode(said); err != nil {
			return err
		}
	}
	return in.Err()
}

func judge(line []byte, worker string, trusted bundles, before *last) (entry, error) {
	text, signature, err := apart(line)
	if err != nil {
		return entry{}, err
	}
	var found entry
	if err := json.Unmarshal(text, &found); err != nil {
		return found, err
	}
	at, err := time.Parse("2006-01-02T15:04:05Z", found.Time)
	if err != nil {
		return found, err
	}
	leaf, err := trusted.leafOf(found.Chain, worker, at)
	if err != nil {
		return found, err
	}
	if found.Worker != worker {
		return found, errors.New("the worker is another")
	}
	// DSSE, section "Signature Definition": the pre-authentication encoding.
	signed := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(text), text)
	if err := verify(leaf, signed, signature); err != nil {
		return found, err
	}
	hash := sha256.Sum256(text)
	defer func() {
		*before = last{found.Log, found.Sequence, base64.RawURLEncoding.EncodeToString(hash[:])}
	}()
	if before.log != "" && found.Log != before.log {
		return found, errors.New("it is of another log")
	}
	if found.Sequence != before.sequence+1 {
		return found, errors.New("the entry before it is missing")
	}
	if found.Previous != before.hash {
		return found, errors.New("it does not have the hash of the entry before it")
	}
	return found, nil
}

// apart returns the text of an entry as it is on the line, and its signature.
func apart(line []byte) (text, signature []byte, err error) {
	var outer map[string]struct {
		Entry     json.RawMessage `json:"entry"`
		Signature string          `json:"signature"`
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&outer); err != nil {
		return nil, nil, err
	}
	inner, present := outer["troth.dev/audit"]
	if !present || len(outer) != 1 {
		return nil, nil, errors.New("the line has no entry")
	}
	signature, err = base64.RawURLEncoding.Strict().DecodeString(inner.Signature)
	return inner.Entry, signature, err
}
