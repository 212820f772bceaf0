package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// How far a call came. A call that is answered came through all layers.
const (
	layerNetwork   = "network"   // no connection: Reason is rejected, closed, timeout or an error
	layerHandshake = "handshake" // By says which side refused the other, Reason why
	layerScope     = "scope"     // the server knows the caller and does not grant the scope
	layerAnswered  = "answered"
)

const (
	byClient = "client"
	byServer = "server"
)

// Reasons at the network: by whom the connection was refused is known from how.
const (
	reasonRejected = "rejected" // an ICMP message came back: a packet filter
	reasonClosed   = "closed"   // a reset came back: nobody listens there
	reasonTimeout  = "timeout"  // nothing came back
)

// Reasons at the handshake. Those of the server are its TLS alerts, in Go's words; ours are the same
// words where they mean the same.
const (
	reasonUnknownAuthority = "unknown certificate authority"
	reasonExpired          = "expired certificate"
	reasonBad              = "bad certificate"
	reasonWrongIdentity    = "wrong identity"
	reasonUndeclared       = "undeclared"   // our identity.json lists no such call
	reasonNoIdentity       = "no identity"  // we have no certificate to show, or no ca.crt
	reasonNoTLS            = "no TLS"       // one side speaks TLS and the other does not
	reasonNotAccepted      = "not accepted" // said on an open connection after a change
)

// outcome is what became of one call. Started is in seconds since 1970, Took in seconds.
type outcome struct {
	Layer     string   `json:"layer"`
	By        string   `json:"by,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	Detail    string   `json:"detail,omitempty"`
	Server    string   `json:"server,omitempty"`    // the SPIFFE ID or name the server answered with
	Authority string   `json:"authority,omitempty"` // the key ID of who signed its certificate, in hex
	Scopes    []string `json:"scopes,omitempty"`
	Started   float64  `json:"started"`
	Took      float64  `json:"took"`
}

func handshake(by, reason string, err error) outcome {
	o := outcome{Layer: layerHandshake, By: by, Reason: reason}
	if err != nil {
		o.Detail = err.Error()
	}
	return o
}

// refusalOf explains an error of the handshake, or of the first read after it: in TLS 1.3 the client
// has finished before the server has looked at its certificate.
func refusalOf(err error) outcome {
	text := err.Error()
	if _, alert, remote := strings.Cut(text, "remote error: tls: "); remote {
		return handshake(byServer, alert, nil)
	}
	var wrong *wrongIdentity
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &wrong):
		return handshake(byClient, reasonWrongIdentity, err)
	case errors.As(err, &unknown):
		return handshake(byClient, reasonUnknownAuthority, err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return handshake(byClient, reasonExpired, err)
	case errors.As(err, &record):
		return handshake(byClient, reasonNoTLS, err)
	case isVerification(err):
		return handshake(byClient, reasonBad, err)
	case isTimeout(err):
		return outcome{Layer: layerNetwork, Reason: reasonTimeout, Detail: "connected, then silence"}
	}
	return outcome{Layer: layerNetwork, Reason: "error", Detail: text}
}

type wrongIdentity struct{ found, expected string }

func (w *wrongIdentity) Error() string { return "it is " + w.found + ", expected " + w.expected }

type unverified struct{ error }

func (u unverified) Unwrap() error { return u.error }

func isVerification(err error) bool {
	var u unverified
	return errors.As(err, &u)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
