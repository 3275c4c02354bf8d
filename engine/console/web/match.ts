// Addresses of pages and what stands in them.

/** Parameters of `path` when it has the form of `pattern` (`/symbols/:symbol`), else `null`. */
export function matches(pattern: string, path: string): Record<string, string> | null {
  const wanted = pattern.split("/");
  const found = path.split("/");
  if (wanted.length !== found.length) return null;
  const params: Record<string, string> = {};
  for (const [index, piece] of wanted.entries()) {
    const value = found[index]!;
    if (piece.startsWith(":")) {
      try {
        params[piece.slice(1)] = decodeURIComponent(value);
      } catch {
        return null;
      }
    } else if (piece !== value) {
      return null;
    }
  }
  return params;
}
