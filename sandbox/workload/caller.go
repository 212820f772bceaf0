package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"
)

// P-256 without the hybrid post-quantum exchange: probes are frequent and not secret.
var curves = []tls.CurveID{tls.CurveP256}

// Modes of a call.
const (
	modeMTLS    = "mtls"    // with this workload's certificate; the default
	modeTLS     = "tls"     // TLS without a client certificate
	modeTLS12   = "tls12"   // with this workload's certificate, at most TLS 1.2
	modePlain   = "plain"   // HTTP without TLS
	modeConnect = "connect" // only a TCP connection
)

// target describes one call.
type target struct {
	Address string `json:"address"` // IP:PORT
	Port    string `json:"port"`    // name of the port
	Mode    string `json:"mode"`
	Service string `json:"service"` // namespace/name, looked up in identity.json's calls
	Expect  string `json:"expect"`  // expected SPIFFE ID, instead of the one looked up
	Scope   string `json:"scope"`
}

// callAll makes calls, at most `concurrency` at a time, and returns their outcomes in order.
func callAll(id *identity, targets []target, concurrency int, timeout time.Duration) []outcome {
	outcomes := make([]outcome, len(targets))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(concurrency, len(targets)) {
		workers.Go(func() {
			for i := range next {
				outcomes[i] = callOne(id, targets[i], timeout)
			}
		})
	}
	for i := range targets {
		next <- i
	}
	close(next)
	workers.Wait()
	return outcomes
}

func callOne(id *identity, t target, timeout time.Duration) outcome {
	began := time.Now()
	o := attempt(id, t, began.Add(timeout))
	o.Started = float64(began.UnixMicro()) / 1e6
	o.Took = time.Since(began).Seconds()
	return o
}

func attempt(id *identity, t target, deadline time.Time) outcome {
	open, o := dial(id, t, deadline)
	if open == nil {
		return o
	}
	defer open.Close()
	if t.Mode == modeConnect {
		return outcome{Layer: layerAnswered}
	}
	o = ask(open, bufio.NewReaderSize(open, 1024), t.Scope)
	if secure, is := open.(*tls.Conn); is {
		o.Authority = authorityOf(secure.ConnectionState().PeerCertificates[0])
	}
	return o
}

// dial opens a connection in the target's mode, or returns the outcome of its failure.
func dial(id *identity, t target, deadline time.Time) (net.Conn, outcome) {
	secure := t.Mode != modePlain && t.Mode != modeConnect
	var config *tls.Config
	if secure {
		var refusal outcome
		if config, refusal = clientConfig(id, t); config == nil {
			return nil, refusal
		}
	}
	to, err := netip.ParseAddrPort(t.Address)
	if err != nil {
		return nil, outcome{Layer: layerNetwork, Reason: "error", Detail: err.Error()}
	}
	connection, err := connect(to, deadline)
	if err != nil {
		return nil, networkOutcome(err)
	}
	_ = connection.SetDeadline(deadline)
	if !secure {
		return connection, outcome{}
	}
	client := tls.Client(connection, config)
	if err := client.Handshake(); err != nil {
		_ = connection.Close()
		return nil, refusalOf(err)
	}
	return client, outcome{}
}

func clientConfig(id *identity, t target) (*tls.Config, outcome) {
	expected := t.Expect
	if expected == "" {
		var declared bool
		if expected, declared = id.peers.callee(t.Service, t.Port); !declared {
			return nil, handshake(byClient, reasonUndeclared, nil)
		}
	}
	certificate := &tls.Certificate{}
	if t.Mode != modeTLS {
		if certificate = id.certificate; certificate == nil {
			return nil, handshake(byClient, reasonNoIdentity, nil)
		}
	}
	version := uint16(tls.VersionTLS13)
	if t.Mode == modeTLS12 {
		version = tls.VersionTLS12
	}
	return &tls.Config{
		MinVersion:       version,
		MaxVersion:       version,
		CurvePreferences: curves,
		// Ignore the authorities that the server names, as an impostor would.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return certificate, nil
		},
		InsecureSkipVerify: true, // replaces the host name check: the SPIFFE ID is verified below
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			chain := make([]*x509.Certificate, len(raw))
			for i, der := range raw {
				var err error
				if chain[i], err = x509.ParseCertificate(der); err != nil {
					return unverified{err}
				}
			}
			found, err := id.verify(chain)
			if err != nil {
				return unverified{err}
			}
			if found != expected {
				return &wrongIdentity{found, expected}
			}
			return nil
		},
	}, outcome{}
}

// ask sends one request over an open connection.
func ask(connection net.Conn, reader *bufio.Reader, scope string) outcome {
	// The server may have rejected the handshake already: read its alert below even if the write fails.
	_, _ = connection.Write([]byte("GET /?scope=" + url.QueryEscape(scope) + " HTTP/1.1\r\nHost: workload\r\n\r\n"))
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return refusalOf(err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusBadRequest {
		return handshake(byServer, reasonNoTLS, nil)
	}
	var r reply
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil {
		return outcome{Layer: layerNetwork, Reason: "error", Detail: err.Error()}
	}
	o := outcome{Layer: layerAnswered, Server: r.Server, Scopes: r.Scopes, Reason: r.Reason}
	switch r.Refused {
	case "":
	case "scope":
		o.Layer = layerScope
	default:
		o = handshake(byServer, reasonNotAccepted, errors.New(r.Reason))
	}
	return o
}
