import java.math.BigDecimal;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.regex.Pattern;

/** As much of JSON Schema (draft 2020-12) as the vectors need; more is an error. */
final class Schema {
  private static final Set<String> ANNOTATIONS =
      Set.of("$schema", "$id", "$comment", "title", "description", "default", "examples");

  static boolean isSatisfied(Object schema, Object value) {
    if (schema instanceof Boolean always) {
      return always;
    }
    Map<String, Object> keywords = Json.object(schema);
    return keywords.entrySet().stream()
        .allMatch(each -> holds(keywords, each.getKey(), each.getValue(), value));
  }

  private static boolean holds(
      Map<String, Object> keywords, String keyword, Object operand, Object value) {
    if (ANNOTATIONS.contains(keyword)) {
      return true;
    }
    return switch (keyword) {
      case "type" -> isOf(operand, value);
      case "enum" -> Json.list(operand).stream().anyMatch(each -> same(each, value));
      case "const" -> same(operand, value);
      case "required" ->
          !(value instanceof Map) || Json.object(value).keySet().containsAll(Json.list(operand));
      case "properties" ->
          !(value instanceof Map)
              || Json.object(operand).entrySet().stream()
                  .filter(each -> Json.object(value).containsKey(each.getKey()))
                  .allMatch(
                      each -> isSatisfied(each.getValue(), Json.object(value).get(each.getKey())));
      case "additionalProperties" ->
          !(value instanceof Map)
              || Json.object(value).entrySet().stream()
                  .filter(each -> !properties(keywords).containsKey(each.getKey()))
                  .allMatch(each -> isSatisfied(operand, each.getValue()));
      case "items" ->
          !(value instanceof List)
              || Json.list(value).stream().allMatch(each -> isSatisfied(operand, each));
      case "minItems" -> !(value instanceof List) || Json.list(value).size() >= number(operand);
      case "maxItems" -> !(value instanceof List) || Json.list(value).size() <= number(operand);
      case "minimum" ->
          !(value instanceof BigDecimal read) || read.compareTo((BigDecimal) operand) >= 0;
      case "maximum" ->
          !(value instanceof BigDecimal read) || read.compareTo((BigDecimal) operand) <= 0;
      case "minLength" -> !(value instanceof String read) || length(read) >= number(operand);
      case "maxLength" -> !(value instanceof String read) || length(read) <= number(operand);
      case "pattern" ->
          !(value instanceof String read) || Pattern.compile((String) operand).matcher(read).find();
      default -> throw new UnsupportedOperationException("keyword " + keyword);
    };
  }

  private static Map<String, Object> properties(Map<String, Object> keywords) {
    return Json.object(keywords.getOrDefault("properties", Map.of()));
  }

  private static boolean isOf(Object type, Object value) {
    if (type instanceof List) {
      return Json.list(type).stream().anyMatch(each -> isOf(each, value));
    }
    return switch ((String) type) {
      case "object" -> value instanceof Map;
      case "array" -> value instanceof List;
      case "string" -> value instanceof String;
      case "boolean" -> value instanceof Boolean;
      case "null" -> value == null;
      case "number" -> value instanceof BigDecimal;
      case "integer" ->
          value instanceof BigDecimal read && read.stripTrailingZeros().scale() <= 0;
      default -> throw new UnsupportedOperationException("type " + type);
    };
  }

  private static boolean same(Object one, Object other) {
    if (one instanceof BigDecimal number && other instanceof BigDecimal read) {
      return number.compareTo(read) == 0;
    }
    return Objects.equals(one, other);
  }

  private static int length(String value) {
    return value.codePointCount(0, value.length());
  }

  private static int number(Object operand) {
    return ((BigDecimal) operand).intValueExact();
  }

  private Schema() {}
}
