package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

const (
	errorQueue = 0x2000 // MSG_ERRQUEUE
	fromICMP   = 2      // SO_EE_ORIGIN_ICMP, the fifth byte of struct sock_extended_err
)

// rejected is an error from a packet filter or router, not from the callee's host.
type rejected struct{ syscall.Errno }

// connect opens a TCP connection. Go's own dialer is not enough: only the socket's error queue shows
// whether a packet filter or a closed port rejected the connection. The kernel keeps that queue for
// TCP since 5.10, and drops it with the socket.
func connect(to netip.AddrPort, deadline time.Time) (net.Conn, error) {
	if !to.Addr().Is4() {
		return nil, errors.New("IPv4 addresses only")
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	_ = syscall.SetsockoptInt(fd, syscall.SOL_IP, syscall.IP_RECVERR, 1)
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	// Close with a reset: thousands of connections in TIME_WAIT would use up the ports.
	_ = syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if err != nil && err != syscall.EINPROGRESS {
		err = explain(fd, err.(syscall.Errno))
		_ = syscall.Close(fd)
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "connection") // non-blocking, so Go's poller handles it
	defer file.Close()
	if err := wait(file, deadline); err != nil {
		return nil, err
	}
	return net.FileConn(file)
}

// wait returns nil when the connection is established, or the error.
func wait(file *os.File, deadline time.Time) error {
	if err := file.SetDeadline(deadline); err != nil {
		return err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Write(func(fd uintptr) bool {
		code, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
		switch {
		case err != nil:
			result = err
		case code != 0:
			result = explain(int(fd), syscall.Errno(code))
		default:
			// Without an error, the socket is connected only if it has a peer; otherwise keep waiting.
			_, err = syscall.Getpeername(int(fd))
			return err == nil
		}
		return true
	})
	return errors.Join(err, result)
}

// explain returns a `rejected` error if the socket's error queue shows that a packet filter sent it.
func explain(fd int, errno syscall.Errno) error {
	buffer := make([]byte, 256)
	_, n, _, _, err := syscall.Recvmsg(fd, make([]byte, 64), buffer, errorQueue)
	if err != nil {
		return errno
	}
	messages, err := syscall.ParseSocketControlMessage(buffer[:n])
	if err != nil {
		return errno
	}
	for _, message := range messages {
		if message.Header.Level == syscall.SOL_IP && message.Header.Type == syscall.IP_RECVERR &&
			len(message.Data) > 4 && message.Data[4] == fromICMP {
			return rejected{errno}
		}
	}
	return errno
}

func networkOutcome(err error) outcome {
	var byFilter rejected
	switch {
	case errors.As(err, &byFilter):
		return outcome{Layer: layerNetwork, Reason: reasonRejected, Detail: byFilter.Error()}
	case errors.Is(err, syscall.ECONNREFUSED):
		return outcome{Layer: layerNetwork, Reason: reasonClosed}
	case isTimeout(err), errors.Is(err, syscall.ETIMEDOUT):
		return outcome{Layer: layerNetwork, Reason: reasonTimeout}
	}
	return outcome{Layer: layerNetwork, Reason: "error", Detail: err.Error()}
}
