// Command gitops-judge says how GitOps tools judge Kubernetes objects, so that
// Troth's statuses are read independently of the code that writes them.
//
//	gitops-judge kstatus             with kstatus, as Flux reads them
//	gitops-judge argocd HEALTH.LUA   with a health check, in Argo CD's Lua
//
// It reads objects from standard input, as JSON, one after another, and prints
// one line of JSON for each, {"status":…,"message":…}. It exits with 2 for a
// usage error, and with 1 if an object cannot be judged.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type judge func(text []byte) (verdict, error)

func main() {
	chosen, err := choose(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "gitops-judge:", err)
		os.Exit(2)
	}
	if err := run(chosen); err != nil {
		fmt.Fprintln(os.Stderr, "gitops-judge:", err)
		os.Exit(1)
	}
}

func choose(args []string) (judge, error) {
	switch {
	case len(args) == 1 && args[0] == "kstatus":
		return kstatus, nil
	case len(args) == 2 && args[0] == "argocd":
		script, err := os.ReadFile(args[1])
		if err != nil {
			return nil, err
		}
		return func(text []byte) (verdict, error) { return argocd(string(script), text) }, nil
	}
	return nil, errors.New("the commands are: kstatus, and argocd with the path of a health check")
}

func run(chosen judge) error {
	answers := json.NewEncoder(os.Stdout)
	for decoder := json.NewDecoder(os.Stdin); ; {
		var text json.RawMessage
		if err := decoder.Decode(&text); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		found, err := chosen(text)
		if err != nil {
			return err
		}
		if err := answers.Encode(found); err != nil {
			return err
		}
	}
}

func kstatus(text []byte) (verdict, error) {
	var object unstructured.Unstructured
	// Unlike encoding/json, it decodes whole numbers to int64, which kstatus needs.
	if err := object.UnmarshalJSON(text); err != nil {
		return verdict{}, err
	}
	result, err := status.Compute(&object)
	if err != nil {
		return verdict{}, err
	}
	return verdict{result.Status.String(), result.Message}, nil
}

// healths are the values that Argo CD accepts for hs.status.
var healths = map[string]bool{
	"Healthy": true, "Progressing": true, "Degraded": true, "Suspended": true, "Missing": true, "Unknown": true,
}

func argocd(script string, text []byte) (verdict, error) {
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		return verdict{}, err
	}
	vm := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer vm.Close()
	// Without useOpenLibs, Argo CD gives a script these three libraries, and a part of os.
	for _, open := range []lua.LGFunction{lua.OpenPackage, lua.OpenBase, lua.OpenTable} {
		vm.Push(vm.NewFunction(open))
		vm.Call(0, 0)
	}
	vm.SetGlobal("obj", value(vm, object))
	if err := vm.DoString(script); err != nil {
		return verdict{}, err
	}
	answer, ok := vm.Get(-1).(*lua.LTable)
	if !ok {
		return verdict{}, fmt.Errorf("the health check returned a %s, not a table", vm.Get(-1).Type())
	}
	health := lua.LVAsString(answer.RawGetString("status"))
	if !healths[health] {
		return verdict{}, fmt.Errorf("the health check returned the status %q, which Argo CD does not have", health)
	}
	return verdict{health, lua.LVAsString(answer.RawGetString("message"))}, nil
}

// value returns JSON as Lua has it: lists count from 1, and null is nil.
func value(vm *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case map[string]any:
		table := vm.NewTable()
		for key, each := range from {
			table.RawSetString(key, value(vm, each))
		}
		return table
	case []any:
		table := vm.NewTable()
		for _, each := range from {
			table.Append(value(vm, each))
		}
		return table
	case string:
		return lua.LString(from)
	case float64:
		return lua.LNumber(from)
	case bool:
		return lua.LBool(from)
	}
	return lua.LNil
}
