import { useState } from "preact/hooks";
import { Icon } from "./icon.tsx";

/** Text to be taken along, with a button that copies it. */
export function CopyBox({ text, label }: { text: string; label: string }) {
  const [said, setSaid] = useState("");
  const copy = () => {
    navigator.clipboard?.writeText(text).then(() => setSaid("Copied"), () => setSaid("Copying was refused: select it by hand"));
    // Without a secure context there is no clipboard.
    if (!navigator.clipboard) setSaid("Select it by hand");
  };
  return (
    <div>
      <div class="secret-box">
        <code>{text}</code>
        <button type="button" class="small" aria-label={`Copy the ${label}`} onClick={copy}><Icon name="copy" size={15} />Copy</button>
      </div>
      <p class="help" role="status">{said}</p>
    </div>
  );
}
