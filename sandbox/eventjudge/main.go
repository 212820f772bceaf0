// Command event-judge verifies Troth's events as docs/events.md specifies them.
// It was written from that page and its sources, without Troth's own verifier.
//
// It reads a file of vectors (docs/reference/event-vectors.json) on its standard
// input, and prints one line of JSON for each: its name, the verdict
// ("Accepted", or the reason of the rejection), a detail for people, and the
// sealed attributes of an accepted event.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

type answer struct {
	Name       string            `json:"name"`
	Verdict    string            `json:"verdict"`
	Detail     string            `json:"detail,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

func main() {
	if err := answerAll(); err != nil {
		fmt.Fprintln(os.Stderr, "event-judge:", err)
		os.Exit(2)
	}
}

func answerAll() error {
	var file vectors
	if err := json.NewDecoder(os.Stdin).Decode(&file); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for _, each := range file.Vectors {
		verifier, message, err := file.question(each)
		if err != nil {
			return fmt.Errorf("%s: %w", each.Name, err)
		}
		a := answer{Name: each.Name, Verdict: "Accepted"}
		attributes, rejected := verifier.open(message)
		if rejected != nil {
			a.Verdict, a.Detail = rejected.reason, rejected.detail
		} else {
			a.Attributes = sealed(attributes)
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
	return nil
}

// rejection is the reason why an event is not accepted.
type rejection struct{ reason, detail string }

func reject(reason, format string, values ...any) *rejection {
	return &rejection{reason, fmt.Sprintf(format, values...)}
}

// sealed returns the attributes that a seal covers.
func sealed(attributes map[string]string) map[string]string {
	found := map[string]string{}
	for _, name := range slices.Concat(core, signed) {
		if value, present := attributes[name]; present {
			found[name] = value
		}
	}
	return found
}
