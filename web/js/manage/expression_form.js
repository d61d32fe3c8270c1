// The field for a filter expression as a form of its own, for the pages that are made by script.

import {make} from '../dom.js';
import {Expression} from '../expression.js';
import {say} from '../i18n.js';

let made = 0;

export function expressionForm(apply) {
  made += 1;
  const [input, status, error] = [`expression-${made}`, `expression-status-${made}`, `expression-error-${made}`];
  const form = make('form', {class: 'expression', novalidate: true},
    say(make('label', {for: input}), 'filter.expression'),
    make('input', {
      id: input, type: 'text', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', dir: 'ltr', maxlength: '60000',
      placeholder: 'array_contains(tags, "sale")', 'aria-describedby': `${status} ${error}`,
    }),
    make('p', {class: 'expression-status', id: status, role: 'status', hidden: true}),
    make('p', {class: 'expression-error', id: error, role: 'alert', hidden: true}));
  return {form, expression: new Expression(form, apply)};
}
