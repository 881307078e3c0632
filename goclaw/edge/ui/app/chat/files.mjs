// Files that came with an answer. A link is good for about an hour: after a reload of the page it is a new one.
import { bytes } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { Icon } from '../ui/parts.mjs'

export function Files({ files }) {
  if (!files.length) return null
  return html`
    <ul class="files">
      ${files.map(({ path, content_type: type, size, caption }) => html`<li key=${path}>
        ${type?.startsWith('image/') && type !== 'image/svg+xml' && path.startsWith('/v1/files/') && html`<img src=${path} alt=${caption ?? ''} loading="lazy" />`}
        <a href=${path} download><${Icon} name="download" />${nameOf(path)}${size != null && html` <span class="muted">${bytes(size)}</span>`}</a>
      </li>`)}
    </ul>`
}

const nameOf = (path) => decodeURIComponent(path.split('/').at(-1))
