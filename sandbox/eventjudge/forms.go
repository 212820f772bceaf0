package main

import (
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	timeForm   = "2006-01-02T15:04:05Z"
	restricted = `[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}`
)

var (
	eventType = regexp.MustCompile(`^[A-Za-z0-9._:/-]{1,256}$`)
	mediaType = regexp.MustCompile(`^` + restricted + `/` + restricted + `(; ?[A-Za-z0-9-]{1,64}=[A-Za-z0-9._-]{1,64}){0,4}$`)
	instant   = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)
)

var required = []string{
	"id", "source", "specversion", "type", "datacontenttype", "time",
	"trothpolicy", "trothbroker", "trothtopic", "trothenvironment", "trothchain",
}

// forms are the forms of the attributes that have one.
var forms = map[string]func(string) bool{
	"id":              isText,
	"source":          func(v string) bool { id, err := spiffeid.FromString(v); return err == nil && id.Path() != "" },
	"specversion":     func(v string) bool { return v == "1.0" },
	"type":            eventType.MatchString,
	"datacontenttype": isMediaType,
	"subject":         isText,
	"time":            func(v string) bool { _, ok := seconds(v); return ok },
	"authtype":        isText,
	"authid":          isText,
	"trothtenant":     isText,
	"trothtxn":        isText,
}

func formOf(attributes map[string]string) *rejection {
	for _, name := range required {
		if _, present := attributes[name]; !present {
			return reject("Malformed", "there is no %s", name)
		}
	}
	for name, value := range attributes {
		if is, known := forms[name]; known && !is(value) {
			return reject("Malformed", "%s has another form", name)
		}
	}
	return nil
}

func isText(value string) bool {
	for _, one := range value {
		if one != ' ' && !unicode.In(one, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S) {
			return false
		}
	}
	count := utf8.RuneCountInString(value)
	return 1 <= count && count <= 256
}

func isMediaType(value string) bool {
	return mediaType.MatchString(value) &&
		!strings.HasPrefix(strings.ToLower(value), "application/cloudevents")
}

// seconds returns a time in seconds since 1970.
func seconds(value string) (float64, bool) {
	at, err := time.Parse(timeForm, value)
	ok := err == nil && instant.MatchString(value) && at.Unix() >= 0
	return float64(at.Unix()), ok
}
