// Durable runs: all of them with the queue's figures, or one with everything known of it (dashboard.md §6.3).
import { html } from '../core/html.mjs'
import { route } from '../core/router.mjs'
import { List } from '../runs/list.mjs'
import { One } from '../runs/one.mjs'

export default function Runs() {
  const { id } = route.value
  return id ? html`<${One} key=${id} id=${id} />` : html`<${List} />`
}
