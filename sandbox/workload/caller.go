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

// The exchange without the hybrid post-quantum key: probes are many, and secret they are not.
var curves = []tls.CurveID{tls.CurveP256}

// How a target is called.
const (
	modeMTLS    = "mtls"    // with our certificate; the default
	modeTLS     = "tls"     // TLS without a certificate of ours
	modeTLS12   = "tls12"   // with our certificate, by TLS 1.2 at the most
	modePlain   = "plain"   // HTTP without TLS
	modeConnect = "connect" // a TCP connection and no more: the network alone
)

// target is one call to make.
type target struct {
	Address string `json:"address"` // IP:PORT
	Port    string `json:"port"`    // the port's name
	Mode    string `json:"mode"`
	Service string `json:"service"` // namespace/name, to be looked up among identity.json's calls
	Expect  string `json:"expect"`  // the SPIFFE ID to expect, instead of looking it up
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

// dial opens the connection as the target's mode says, or explains why there is none.
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
		// Whatever authorities the server names, as an impostor would.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return certificate, nil
		},
		InsecureSkipVerify: true, // by host name; by SPIFFE ID it is verified here
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
	// The server may have refused us already: its alert is read below even if writing fails.
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
