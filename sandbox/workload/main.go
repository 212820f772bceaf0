// Command workload is a service like those of Troth's users, for tests. It serves on named ports with
// the certificate of its identity's Secret and accepts the callers in identity.json. On request, it
// calls other services and reports the layer at which each call ended.
//
//	workload serve [--identity DIR] [--port NAME=NUMBER]... [--plain NAME=NUMBER]... [--control NAME]
//	workload call [--control NAME] < REQUEST
//	workload pause
//
// `serve` verifies callers on each --port by mutual TLS; a --plain port serves HTTP without TLS to
// all callers. An abstract unix socket receives control requests. Such a socket belongs to the pod's
// network namespace and has no address, so no NetworkPolicy affects it, and it needs no file in the
// pod. `call` forwards one request from inside the pod, for `kubectl exec`. `pause` does nothing: it
// is the process that keeps a pod's namespaces. control.go describes the requests, outcome.go the
// outcomes of calls.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

const defaultControl = "troth-workload"

type options struct {
	identity string
	control  string
	ports    ports
	plain    ports
}

// ports are named listeners, in the order of the command line.
type ports []port

type port struct {
	name   string
	number int
}

func (p *ports) String() string { return "" }

func (p *ports) Set(text string) error {
	name, number, found := strings.Cut(text, "=")
	n, err := strconv.Atoi(number)
	if !found || name == "" || err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("%q is not NAME=NUMBER", text)
	}
	*p = append(*p, port{name, n})
	return nil
}

func main() {
	command, arguments := "serve", os.Args[1:]
	if len(arguments) > 0 && !strings.HasPrefix(arguments[0], "-") {
		command, arguments = arguments[0], arguments[1:]
	}
	o := options{}
	flags := flag.NewFlagSet(command, flag.ExitOnError)
	flags.StringVar(&o.control, "control", defaultControl, "name of the abstract socket")
	if command == "serve" {
		flags.StringVar(&o.identity, "identity", "/identity", "where the identity's Secret is mounted")
		flags.Var(&o.ports, "port", "a port that speaks mutual TLS, NAME=NUMBER")
		flags.Var(&o.plain, "plain", "a port that speaks HTTP without TLS, NAME=NUMBER")
	}
	_ = flags.Parse(arguments)
	var err error
	switch command {
	case "serve":
		err = serve(o)
	case "call":
		err = call(o)
	case "pause":
		untilTold()
	default:
		err = fmt.Errorf("there is no command %q: serve, call, pause", command)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "workload:", err)
		os.Exit(1)
	}
}

// serve listens on all ports, then on the control socket: when the control socket accepts, all ports
// are open. It ends at SIGTERM.
func serve(o options) error {
	store := &store{directory: o.identity}
	for _, p := range o.ports {
		if err := listen(p, store, true); err != nil {
			return err
		}
	}
	for _, p := range o.plain {
		if err := listen(p, store, false); err != nil {
			return err
		}
	}
	listener, err := net.Listen("unix", "@"+o.control)
	if err != nil {
		return err
	}
	go control(listener, store)
	fmt.Printf("serving %d ports, %d without TLS\n", len(o.ports)+len(o.plain), len(o.plain))
	untilTold()
	return nil
}

// untilTold returns at SIGTERM or SIGINT.
func untilTold() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
}

func call(o options) error {
	connection, err := net.Dial("unix", "@"+o.control)
	if err != nil {
		return err
	}
	defer connection.Close()
	go func() {
		_, _ = io.Copy(connection, os.Stdin)
		_ = connection.(*net.UnixConn).CloseWrite()
	}()
	_, err = io.Copy(os.Stdout, connection)
	return err
}
