// Markdown of models and users: marked → DOMPurify → Trusted Types → DOM (dashboard.md §17.3–17.4).
// Raw HTML is shown as text, remote images become links, and a link leaves only after the reader agreed to the host.
import DOMPurify from 'dompurify'
import { Marked } from 'marked'
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { copyText } from '../core/ids.mjs'
import { confirm } from './confirm.mjs'

const LARGEST = 200_000 // characters rendered without being asked
const KEPT = 500 // sanitised blocks remembered

const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
const ours = (href) => /^(data:image\/|blob:|\/v1\/)/.test(href)

const marked = new Marked({
  gfm: true,
  renderer: {
    html: ({ text }) => escape(text),
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
    image({ href, text }) {
      const label = escape(text || href)
      return ours(href) ? `<img src="${escape(href)}" alt="${label}">` : `<a href="${escape(href)}">${label}</a>`
    },
  },
})

const RULES = {
  ALLOWED_TAGS: [
    ...['a', 'blockquote', 'br', 'code', 'del', 'em', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'hr', 'img', 'li', 'ol'],
    ...['p', 'pre', 'strong', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'ul'],
  ],
  ALLOWED_ATTR: ['href', 'src', 'alt', 'title', 'class', 'align', 'start', 'target', 'rel'],
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:|\/v1\/files\/)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
}

DOMPurify.addHook('afterSanitizeAttributes', (node) => {
  if (!/^language-[\w+#.-]+$/.test(node.getAttribute('class') ?? '')) node.removeAttribute('class')
  if (node.tagName !== 'A') return
  node.setAttribute('target', '_blank')
  node.setAttribute('rel', 'noopener noreferrer nofollow')
})

const sanitize = (dirty) => DOMPurify.sanitize(dirty, RULES)
const policy = globalThis.trustedTypes?.createPolicy('goclaw-md', { createHTML: sanitize }) ?? { createHTML: sanitize }
const clean = new Map()

function trusted(dirty) {
  if (!clean.has(dirty)) {
    if (clean.size >= KEPT) clean.delete(clean.keys().next().value)
    clean.set(dirty, policy.createHTML(dirty))
  }
  return clean.get(dirty)
}

// One string of HTML per top-level block, so that a streamed answer repaints its last paragraph only.
function blocks(text) {
  const tokens = marked.lexer(text)
  return tokens.filter(({ type }) => type !== 'space').map((token) => marked.parser([token]))
}

export function Markdown({ text }) {
  const [asked, ask] = useState(false)
  if (text.length > LARGEST && !asked) {
    return html`<pre class="md-plain">${text}</pre><button class="quiet" onClick=${() => ask(true)}>${t('markdown.render')}</button>`
  }
  return html`<div class="md" onClick=${follow}>${blocks(text).map((block, i) => html`<${Block} key=${i} html=${block} />`)}</div>`
}

function Block({ html: dirty }) {
  const box = useRef()
  useLayoutEffect(() => {
    box.current.innerHTML = trusted(dirty)
    for (const code of box.current.querySelectorAll('pre')) frame(code)
  }, [dirty])
  return html`<div ref=${box}></div>`
}

function frame(code) {
  const box = document.createElement('div')
  box.className = 'code'
  const button = document.createElement('button')
  button.type = 'button'
  button.className = 'copy-code quiet'
  button.textContent = t('copy')
  button.onclick = async () => {
    await copyText(code.textContent)
    button.textContent = t('copied')
  }
  code.tabIndex = 0 // it scrolls, so the keyboard must reach it
  code.replaceWith(box)
  box.append(code, button)
}

const agreed = new Set() // hosts

async function follow(event) {
  const link = event.target.closest('a[href]')
  if (!link || link.protocol === 'mailto:' || link.host === location.host || agreed.has(link.host)) return
  event.preventDefault()
  if (!(await confirm(t('link.leave', { host: link.host }), link.href, t('link.open')))) return
  agreed.add(link.host)
  open(link.href, '_blank', 'noopener,noreferrer')
}
