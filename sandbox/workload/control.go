package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"
)

// A request is one JSON object on a line, and so is its answer. `do` is one of
//
//	call     make the calls of `targets`; `present` replaces some or all of the identity's files;
//	         the answer has `outcomes` in the order of the targets
//	hold     open a connection to `targets[0]` and keep it under `name`
//	again    send another request on the connection `name`
//	release  close the connection `name`
//	pose     serve with the files of `present` instead of the workload's own; without any, with its
//	         own again
//	look     answer with the workload's SPIFFE ID and its current identity.json
//	storm    start to call `targets` in turn in the background, `rate` calls per second in all
//	tally    answer with the counts of these calls so far
//	calm     stop these calls, and answer with the counts
type request struct {
	Do          string   `json:"do"`
	Targets     []target `json:"targets"`
	Present     files    `json:"present"`
	Concurrency int      `json:"concurrency"`
	Timeout     float64  `json:"timeout"` // of each call, in seconds
	Name        string   `json:"name"`
	Rate        float64  `json:"rate"`
}

type answerLine struct {
	Outcomes []outcome `json:"outcomes,omitempty"`
	Identity *document `json:"identity,omitempty"`
	Refusals int64     `json:"refusals,omitempty"`
	Tally    *tally    `json:"tally,omitempty"`
	Error    string    `json:"error,omitempty"`
}

func control(listener net.Listener, store *store) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			fmt.Println("control:", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go controlConnection(connection, store)
	}
}

func controlConnection(connection net.Conn, store *store) {
	defer connection.Close()
	decoder := json.NewDecoder(bufio.NewReaderSize(connection, 64<<10))
	writer := bufio.NewWriterSize(connection, 64<<10)
	encoder := json.NewEncoder(writer)
	for {
		r := request{Concurrency: 4 * runtime.GOMAXPROCS(0), Timeout: 3}
		if decoder.Decode(&r) != nil {
			return
		}
		line, err := handle(r, store)
		if err != nil {
			line = answerLine{Error: err.Error()}
		}
		if encoder.Encode(line) != nil || writer.Flush() != nil {
			return
		}
	}
}

func handle(r request, store *store) (answerLine, error) {
	switch r.Do {
	case "pose":
		return answerLine{}, store.pose(r.Present)
	case "again":
		return held.again(r)
	case "release":
		return answerLine{}, held.release(r.Name)
	case "storm":
		return answerLine{}, raise(r, store)
	case "tally":
		return told()
	case "calm":
		return calm()
	}
	id, err := identityFor(r, store)
	if err != nil {
		return answerLine{}, err
	}
	switch r.Do {
	case "call":
		timeout := seconds(r.Timeout)
		return answerLine{Outcomes: callAll(id, r.Targets, r.Concurrency, timeout)}, nil
	case "hold":
		return held.open(id, r)
	case "look":
		return answerLine{Identity: &id.peers, Refusals: refusals.Load()}, nil
	}
	return answerLine{}, fmt.Errorf("there is no request %q", r.Do)
}

func identityFor(r request, store *store) (*identity, error) {
	if r.Present != nil {
		return store.with(r.Present)
	}
	return store.load()
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// held has the connections that are kept open, by name.
var held = connections{byName: map[string]*heldConnection{}}

type connections struct {
	mutex  sync.Mutex
	byName map[string]*heldConnection
}

type heldConnection struct {
	net.Conn
	reader *bufio.Reader
}

func (c *connections) open(id *identity, r request) (answerLine, error) {
	if len(r.Targets) != 1 {
		return answerLine{}, errors.New("one target can be held")
	}
	t := r.Targets[0]
	connection, o := dial(id, t, time.Now().Add(seconds(r.Timeout)))
	if connection != nil {
		kept := &heldConnection{connection, bufio.NewReaderSize(connection, 1024)}
		c.mutex.Lock()
		c.byName[r.Name] = kept
		c.mutex.Unlock()
		o = ask(kept, kept.reader, t.Scope)
	}
	return answerLine{Outcomes: []outcome{o}}, nil
}

func (c *connections) again(r request) (answerLine, error) {
	c.mutex.Lock()
	kept := c.byName[r.Name]
	c.mutex.Unlock()
	if kept == nil {
		return answerLine{}, fmt.Errorf("no connection %q is held", r.Name)
	}
	scope := ""
	if len(r.Targets) == 1 {
		scope = r.Targets[0].Scope
	}
	_ = kept.SetDeadline(time.Now().Add(seconds(r.Timeout)))
	return answerLine{Outcomes: []outcome{ask(kept, kept.reader, scope)}}, nil
}

func (c *connections) release(name string) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	kept := c.byName[name]
	if kept == nil {
		return fmt.Errorf("no connection %q is held", name)
	}
	delete(c.byName, name)
	return kept.Close()
}
