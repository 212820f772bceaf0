// Command token-judge verifies Troth's tokens and bundles with go-spiffe and
// the JOSE library that it uses, and makes tokens with them for Troth to verify.
//
// It reads one question per line as JSON and answers each with a line of JSON,
// so that a table of tokens needs only one process. It exits with 2 at the
// first line that is no question.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// question is one question; "do" selects the other fields that it uses.
type question struct {
	Do          string                     `json:"do"`
	Token       string                     `json:"token"`
	Audience    string                     `json:"audience"`
	Issuer      string                     `json:"issuer"`
	TrustDomain string                     `json:"trustDomain"`
	Bundles     map[string]json.RawMessage `json:"bundles"`
	KeySet      json.RawMessage            `json:"keySet"`
	Key         json.RawMessage            `json:"key"`
	Type        string                     `json:"type"`
	Claims      json.RawMessage            `json:"claims"`
}

type answer struct {
	OK     bool            `json:"ok"`
	Says   string          `json:"says"`
	Token  string          `json:"token,omitempty"`
	X509   []string        `json:"x509,omitempty"`
	JWT    []string        `json:"jwt,omitempty"`
	Bundle json.RawMessage `json:"bundle,omitempty"`
}

func main() {
	if err := answerAll(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "token-judge:", err)
		os.Exit(2)
	}
}

func answerAll(in io.Reader, out io.Writer) error {
	questions, answers := json.NewDecoder(in), json.NewEncoder(out)
	questions.DisallowUnknownFields()
	for {
		var q question
		if err := questions.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		ask, known := map[string]func(question) (answer, error){
			"jwt-svid":    jwtSVID,
			"transaction": transaction,
			"webhook":     webhook,
			"bundle":      bundle,
			"jwks":        jwks,
			"mint":        mint,
		}[q.Do]
		if !known {
			return fmt.Errorf("there is no %q to do", q.Do)
		}
		a, err := ask(q)
		if err != nil {
			a = answer{Says: err.Error()}
		} else {
			a.OK = true
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}
