/** The reason why an event is not accepted. */
final class Rejected extends Exception {
  private static final long serialVersionUID = 1L;

  final String reason;

  Rejected(String reason, String detail) {
    super(detail);
    this.reason = reason;
  }

  static void unless(boolean holds, String reason, String detail) throws Rejected {
    if (!holds) {
      throw new Rejected(reason, detail);
    }
  }
}
